"""GET and POST /authorize: the page on which a person agrees or refuses."""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from .forms import FormError, read_form
from .memory import MEMORY, Memory
from .personas import PERSONAS, Persona, is_persona_id
from .state import Account, Settings

KNOWN_SCOPES = frozenset(
    [
        "app-remote-control",
        "playlist-modify-private",
        "playlist-modify-public",
        "playlist-read-collaborative",
        "playlist-read-private",
        "streaming",
        "ugc-image-upload",
        "user-follow-modify",
        "user-follow-read",
        "user-library-modify",
        "user-library-read",
        "user-modify-playback-state",
        "user-read-currently-playing",
        "user-read-email",
        "user-read-playback-position",
        "user-read-playback-state",
        "user-read-private",
        "user-read-recently-played",
        "user-top-read",
    ]
)

_PAGES = Path(__file__).parent / "pages"
_AUTHORIZE_PAGE = Template((_PAGES / "authorize.html").read_text("utf-8"))
_ERROR_PAGE = Template((_PAGES / "error.html").read_text("utf-8"))
_STYLE = (_PAGES / "sandbox.css").read_text("utf-8")

_COOKIE = "spotify_sandbox_persona"
_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK_LITERALS = ("127.0.0.1", "::1")
_CARRIED_FIELDS = (
    "client_id",
    "response_type",
    "redirect_uri",
    "state",
    "scope",
    "show_dialog",
    "code_challenge_method",
    "code_challenge",
)
_SAFE = {
    "Cache-Control": "no-store",
    # No form-action: it would also forbid the redirect back to the application.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class AuthorizeError(Exception):
    """The request cannot be shown to a person; Spotify says so on a plain page, status 400."""


async def ask(request: web.Request) -> web.Response:
    """Show the choice of personas, or go straight back if this browser has agreed before."""
    memory = request.app[MEMORY]
    fields = request.query
    try:
        _validate(fields, memory.settings)
    except AuthorizeError as error:
        return _error_page(error)
    account = _remembered_account(request, memory)
    if account and fields.get("show_dialog", "false") != "true" and _covers(account, fields):
        return _back(fields, _approved(memory, account, fields), status=302)
    return _ask_page(request, fields)


async def decide(request: web.Request) -> web.Response:
    """The form of the page; machines post `persona=<id>` with the same parameters."""
    memory = request.app[MEMORY]
    try:
        fields = await read_form(request)
        _validate(fields, memory.settings)
        if fields.get("decision") == "refuse":
            return _back(fields, {"error": "access_denied"}, status=303)
        persona_id = fields.get("persona", "")
        if not is_persona_id(persona_id):
            raise AuthorizeError("Unknown persona")
    except (AuthorizeError, FormError) as error:
        return _error_page(error)
    account = memory.state.account(persona_id)
    account.approved_scopes = (account.approved_scopes or frozenset()) | _scopes(fields)
    response = _back(fields, _approved(memory, account, fields), status=303)
    response.set_cookie(_COOKIE, persona_id, path="/authorize", httponly=True, samesite="Lax")
    return response


async def style(_request: web.Request) -> web.Response:
    return web.Response(
        text=_STYLE, content_type="text/css", headers={"Cache-Control": "max-age=60"}
    )


def _validate(fields: Mapping[str, str], settings: Settings) -> None:
    if fields.get("client_id") != settings.client_id:
        raise AuthorizeError("INVALID_CLIENT: Invalid client")
    redirect_uri = fields.get("redirect_uri", "")
    if not any(_matches(redirect_uri, registered) for registered in settings.redirect_uris):
        raise AuthorizeError("INVALID_CLIENT: Invalid redirect URI")
    if not _is_secure(redirect_uri):
        raise AuthorizeError("INVALID_CLIENT: Insecure redirect URI")
    if fields.get("response_type") != "code":
        raise AuthorizeError("response_type must be code")
    if not _scopes(fields) <= KNOWN_SCOPES:
        raise AuthorizeError("INVALID_SCOPE: Invalid scope")
    method, challenge = fields.get("code_challenge_method"), fields.get("code_challenge")
    if method is None and challenge is None:
        return
    if method != "S256":
        raise AuthorizeError("code_challenge_method must be S256")
    if not _S256_CHALLENGE.fullmatch(challenge or ""):
        raise AuthorizeError("Invalid code_challenge")


def _matches(given: str, registered: str) -> bool:
    """Exactly equal; but a loopback literal registered without a port accepts any port."""
    if given == registered:
        return True
    try:
        ours, theirs = urlsplit(registered), urlsplit(given)
        if ours.hostname not in _LOOPBACK_LITERALS or ours.port is not None or not theirs.port:
            return False
    except ValueError:  # not a number where the port should be
        return False
    return given == ours._replace(netloc=f"{ours.netloc}:{theirs.port}").geturl()


def _is_secure(redirect_uri: str) -> bool:
    """HTTPS, or a loopback IP literal; `localhost` is neither (since April 2025)."""
    parts = urlsplit(redirect_uri)
    return parts.scheme == "https" or parts.hostname in _LOOPBACK_LITERALS


def _scopes(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields.get("scope", "").split())


def _remembered_account(request: web.Request, memory: Memory) -> Account | None:
    return memory.state.accounts.get(request.cookies.get(_COOKIE, ""))


def _covers(account: Account, fields: Mapping[str, str]) -> bool:
    return account.approved_scopes is not None and _scopes(fields) <= account.approved_scopes


def _approved(memory: Memory, account: Account, fields: Mapping[str, str]) -> dict[str, str]:
    code = memory.state.new_code(
        account,
        scope=" ".join(fields.get("scope", "").split()),
        redirect_uri=fields["redirect_uri"],
        code_challenge=fields.get("code_challenge"),
    )
    return {"code": code}


def _back(fields: Mapping[str, str], answer: dict[str, str], *, status: int) -> web.Response:
    """Redirect to the application, with its `state` if it sent one."""
    if "state" in fields:
        answer["state"] = fields["state"]
    redirect_uri = fields["redirect_uri"]
    separator = "&" if urlsplit(redirect_uri).query else "?"
    location = f"{redirect_uri}{separator}{urlencode(answer)}"
    return web.Response(status=status, headers={**_SAFE, "Location": location})


def _ask_page(request: web.Request, fields: Mapping[str, str]) -> web.Response:
    hidden = "\n".join(
        f'<input type="hidden" name="{name}" value="{escape(fields[name])}">'
        for name in _CARRIED_FIELDS
        if name in fields
    )
    scopes = sorted(_scopes(fields)) or ["public information only"]
    page = _AUTHORIZE_PAGE.substitute(
        hidden_fields=hidden,
        scopes="\n".join(f"<li>{escape(scope)}</li>" for scope in scopes),
        personas="\n".join(_persona_button(persona) for persona in PERSONAS.values()),
        destination=escape(urlsplit(fields["redirect_uri"]).netloc),
    )
    return web.Response(text=page, content_type="text/html", headers=_SAFE)


def _persona_button(persona: Persona) -> str:
    name = escape(persona.display_name or "(no name)")
    return (
        f'<li><button class="persona" name="persona" value="{persona.id}">'
        f'<img src="/pictures/{persona.picture}.svg" alt="" width="48" height="48">'
        f'<span><bdi class="name">{name}</bdi>'
        f'<span class="about">{escape(persona.about)}</span></span></button></li>'
    )


def _error_page(error: Exception) -> web.Response:
    page = _ERROR_PAGE.substitute(message=escape(str(error)))
    return web.Response(status=400, text=page, content_type="text/html", headers=_SAFE)
