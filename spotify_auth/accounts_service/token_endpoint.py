"""One POST to the token endpoint: the answer becomes a Grant or a typed error."""

import functools
import json
from collections.abc import Mapping
from ssl import SSLCertVerificationError
from typing import Any, TypeGuard
from urllib.parse import urlencode

import requests
from requests.utils import default_headers
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError

from spotify_auth.accounts_service.errors import (
    AnswerUnknown,
    AnswerUnreadable,
    ClientRefused,
    GrantRefused,
    RateLimited,
    Unavailable,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.http_client import HandshakeFailed, retry_after, session_of_this_thread

ANSWER_BYTES = 64 * 1024
LONGEST_LIFETIME = 24 * 3600

# Errors of RFC 6749, section 5.2, that speak of the client and never of the grant.
_CLIENT_ERRORS = {
    "invalid_client",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
}


def post(form: Mapping[str, str]) -> Grant:
    """Send one grant request, authenticated as this client, and classify the answer.

    Never tries twice and never follows a redirect. Raises the errors of
    `accounts_service.errors`.
    """
    session = session_of_this_thread(total_seconds=settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
    request = _prepared(
        settings.SPOTIFY_ACCOUNTS_URL, settings.SPOTIFY_CLIENT_ID, settings.SPOTIFY_CLIENT_SECRET
    ).copy()
    request.body = urlencode(form)
    request.headers["Content-Length"] = str(len(request.body))
    try:
        response = session.send(request, stream=True)
    except requests.RequestException as error:
        # `from None`: the chained error carries the prepared request, secrets and all.
        raise _no_answer(error) from None
    with response:
        try:
            body = response.raw.read(ANSWER_BYTES + 1, decode_content=True)
        except (HTTPError, OSError):
            raise AnswerUnknown("answer_cut_short") from None
        if len(body) > ANSWER_BYTES:
            unusable = AnswerUnreadable if response.status_code == 200 else Unavailable
            raise unusable("answer_too_large")
        return _classify(response.status_code, response.headers, body)


@functools.cache
def _prepared(accounts_url: str, client_id: str, client_secret: str) -> requests.PreparedRequest:
    """All of the request but its body: preparing it anew would cost a fifth of a call."""
    return requests.Request(
        "POST",
        f"{accounts_url}/api/token",
        headers={
            **default_headers(),
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        auth=(client_id, client_secret),
    ).prepare()


def _no_answer(error: requests.RequestException) -> AnswerUnknown | Unavailable:
    """Tell a request that never left from one that may have been carried out."""
    if isinstance(error, requests.ConnectTimeout):
        return Unavailable("connect_timeout")
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, HandshakeFailed):
        return Unavailable("handshake_failed")
    if isinstance(reason, NewConnectionError | ProxyError):
        return Unavailable("connection_refused")
    if isinstance(reason, SSLError) and isinstance(reason.args[0], SSLCertVerificationError):
        return Unavailable("certificate_refused")
    if isinstance(error, requests.Timeout):
        return AnswerUnknown("timeout")
    return AnswerUnknown("connection_cut")


def _classify(status: int, headers: Mapping[str, str], body: bytes) -> Grant:
    if status == 429:
        raise RateLimited("rate_limited", retry_after=retry_after(headers))
    answer = _json_object(body)
    if status == 200:
        return _grant(answer)
    error = answer.get("error")
    if status == 400 and error == "invalid_grant":
        raise GrantRefused("invalid_grant")
    if status in {400, 401} and isinstance(error, str) and error in _CLIENT_ERRORS:
        raise ClientRefused(error)
    raise Unavailable(f"http_{status}")


def _json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; anything else is an empty one, which no rule accepts."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _grant(answer: Mapping[str, Any]) -> Grant:
    access_token = answer.get("access_token")
    if not isinstance(access_token, str) or not access_token:
        raise AnswerUnreadable("answer_without_access_token")
    refresh_token = answer.get("refresh_token")
    if not _is_visible(access_token) or not (refresh_token is None or _is_visible(refresh_token)):
        raise AnswerUnreadable("answer_malformed")
    scope = answer.get("scope")
    return Grant(
        access_token=access_token,
        refresh_token=refresh_token or None,
        expires_in=_lifetime(answer.get("expires_in")),
        scope=scope.strip() if _is_visible(scope) else "",
    )


def _is_visible(value: object) -> TypeGuard[str]:
    """Whether this is a string of visible characters and spaces (RFC 6749, appendix A)."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _lifetime(value: object) -> int:
    """`expires_in` in seconds; digits in a string are accepted, as some servers send them."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:10])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AnswerUnreadable("answer_without_expires_in")
    if not 1 <= value <= LONGEST_LIFETIME:
        raise AnswerUnreadable("expires_in_absurd")
    return int(value)
