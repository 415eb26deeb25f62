"""The authorize page: what it refuses, shows, and sends back."""

from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests

from spotify_auth.sandbox.personas import PERSONAS
from tests.support.sandbox_client import REDIRECT_URI, SCOPES, Sandbox, SandboxError

PARAMS = {
    "client_id": Sandbox.client_id,
    "response_type": "code",
    "redirect_uri": REDIRECT_URI,
    "state": 'a "state" & <more>',
    "scope": SCOPES,
}
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B


@pytest.fixture(scope="module")
def other_uris() -> Iterator[Sandbox]:
    """A sandbox that knows redirect URIs of every kind."""
    uris = (
        "http://127.0.0.1/callback",  # loopback without a port: any port
        "http://[::1]/callback",
        "http://127.0.0.1:9000/fixed",
        "https://example.com/back?from=spotify",
        "http://localhost:8000/callback",  # registered long ago, refused today
        "http://example.com/insecure",
    )
    options = [part for uri in uris for part in ("--redirect-uri", uri)]
    with Sandbox(options=options) as sandbox:
        yield sandbox


def open_page(sandbox: Sandbox, **changed: str | None) -> requests.Response:
    return requests.get(
        f"{sandbox.url}/authorize", params={**PARAMS, **changed}, allow_redirects=False, timeout=10
    )


def query_of(location: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(location).query)


class Forms(HTMLParser):
    """The fields and buttons of a page, and whether it has inline script or style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.attributes.update(given)
        if tag == "input":
            self.hidden[given["name"]] = given["value"]
        if tag == "button":
            self.buttons.append((given["name"], given["value"]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"client_id": "other"}, "INVALID_CLIENT: Invalid client"),
        ({"client_id": None}, "INVALID_CLIENT: Invalid client"),
        ({"redirect_uri": None}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": REDIRECT_URI.rstrip("/")}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": REDIRECT_URI + "?a=b"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"redirect_uri": REDIRECT_URI.upper()}, "INVALID_CLIENT: Invalid redirect URI"),
        # The registered URI has a port: another port is another URI.
        (
            {"redirect_uri": "http://127.0.0.1:8001/spotify/callback/"},
            "INVALID_CLIENT: Invalid redirect URI",
        ),
        ({"redirect_uri": "https://evil.example/"}, "INVALID_CLIENT: Invalid redirect URI"),
        ({"response_type": "token"}, "response_type must be code"),
        ({"response_type": None}, "response_type must be code"),
        ({"scope": "user-top-read user-fly"}, "INVALID_SCOPE: Invalid scope"),
        ({"code_challenge": CHALLENGE}, "code_challenge_method must be S256"),
        (
            {"code_challenge": CHALLENGE, "code_challenge_method": "plain"},
            "code_challenge_method must be S256",
        ),
        ({"code_challenge_method": "S256"}, "Invalid code_challenge"),
        (
            {"code_challenge_method": "S256", "code_challenge": CHALLENGE + "="},
            "Invalid code_challenge",
        ),
    ],
)
def test_shows_errors_on_a_page_and_redirects_nowhere(
    sandbox: Sandbox, changed: dict[str, str | None], message: str
) -> None:
    shown = open_page(sandbox, **changed)
    posted = requests.post(
        f"{sandbox.url}/authorize",
        data={**PARAMS, **changed, "persona": "listener"},
        allow_redirects=False,
        timeout=10,
    )

    for response in (shown, posted):
        assert response.status_code == 400
        assert message in response.text
        assert "Location" not in response.headers


@pytest.mark.parametrize(
    ("redirect_uri", "outcome"),
    [
        ("http://127.0.0.1/callback", 200),
        ("http://127.0.0.1:8123/callback", 200),
        ("http://[::1]:8123/callback", 200),
        ("http://127.0.0.1:9000/fixed", 200),
        ("https://example.com/back?from=spotify", 200),
        ("http://127.0.0.1:8123/callback/", 400),
        ("http://127.0.0.1:port/callback", 400),
        ("http://127.0.0.1:9001/fixed", 400),
        ("http://127.0.0.1@evil.example:80/callback", 400),
        ("http://127.0.0.1:80@evil.example/callback", 400),
        ("https://example.com:444/back?from=spotify", 400),
    ],
)
def test_only_a_loopback_address_registered_without_a_port_takes_any_port(
    other_uris: Sandbox, redirect_uri: str, outcome: int
) -> None:
    assert open_page(other_uris, redirect_uri=redirect_uri).status_code == outcome


@pytest.mark.parametrize(
    "redirect_uri", ["http://localhost:8000/callback", "http://example.com/insecure"]
)
def test_refuses_insecure_redirect_uris_even_registered(
    other_uris: Sandbox, redirect_uri: str
) -> None:
    response = open_page(other_uris, redirect_uri=redirect_uri)

    assert response.status_code == 400
    assert "INVALID_CLIENT: Insecure redirect URI" in response.text


def test_offers_every_persona_and_a_way_to_refuse(sandbox: Sandbox) -> None:
    forms = Forms(open_page(sandbox).text)

    assert forms.buttons == [
        *(("persona", persona) for persona in PERSONAS),
        ("decision", "refuse"),
    ]


def test_the_form_carries_the_parameters(sandbox: Sandbox) -> None:
    assert Forms(open_page(sandbox).text).hidden == PARAMS


def test_has_no_inline_script_or_style(sandbox: Sandbox) -> None:
    response = open_page(sandbox)
    forms = Forms(response.text)

    assert not {"script", "style"} & forms.tags
    assert not {name for name in forms.attributes if name == "style" or name.startswith("on")}
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"


def test_hostile_names_and_scopes_are_shown_as_text(sandbox: Sandbox) -> None:
    page = open_page(sandbox, state="<script>alert(2)</script>").text

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_serves_its_own_style_sheet(sandbox: Sandbox) -> None:
    response = requests.get(f"{sandbox.url}/sandbox.css", timeout=10)

    assert response.headers["Content-Type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in response.text


def test_agreeing_sends_a_code_and_the_state_back(sandbox: Sandbox) -> None:
    location = sandbox.authorize(PARAMS, "listener")

    assert location.startswith(REDIRECT_URI + "?")
    assert query_of(location)["state"] == [PARAMS["state"]]
    assert len(query_of(location)["code"][0]) > 60


def test_without_a_state_none_comes_back(sandbox: Sandbox) -> None:
    location = sandbox.authorize({k: v for k, v in PARAMS.items() if k != "state"}, "listener")

    assert list(query_of(location)) == ["code"]


def test_refusing_sends_access_denied_back(sandbox: Sandbox) -> None:
    location = sandbox.refuse(PARAMS)

    assert parse_qsl(urlsplit(location).query) == [
        ("error", "access_denied"),
        ("state", PARAMS["state"]),
    ]


def test_keeps_the_query_of_the_redirect_uri(other_uris: Sandbox) -> None:
    params = {**PARAMS, "redirect_uri": "https://example.com/back?from=spotify"}
    location = other_uris.authorize(params, "listener")

    assert location.startswith("https://example.com/back?from=spotify&code=")


@pytest.mark.parametrize("persona", ["user-0", "user-1", "user-999999999"])
def test_generated_users_can_agree(sandbox: Sandbox, persona: str) -> None:
    assert "code=" in sandbox.authorize(PARAMS, persona)


@pytest.mark.parametrize("persona", ["", "nobody", "user-", "user-01", "user-x", "user-1 "])
def test_unknown_personas_cannot(sandbox: Sandbox, persona: str) -> None:
    with pytest.raises(SandboxError, match="Unknown persona"):
        sandbox.authorize(PARAMS, persona)


def test_refuses_forms_that_are_too_large(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="Request body too large"):
        sandbox.authorize({**PARAMS, "state": "x" * 20_000}, "listener")


@pytest.fixture
def browser(sandbox: Sandbox) -> Iterator[requests.Session]:
    """A browser in which the ordinary listener has agreed."""
    with requests.Session() as session:
        session.post(
            f"{sandbox.url}/authorize",
            data={**PARAMS, "persona": "listener"},
            allow_redirects=False,
            timeout=10,
        )
        yield session


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({}, 302),
        ({"show_dialog": "false"}, 302),
        ({"scope": "user-top-read"}, 302),  # less than was agreed to
        ({"show_dialog": "true"}, 200),
        ({"scope": SCOPES + " user-read-email"}, 200),  # more
    ],
)
def test_goes_straight_back_when_the_browser_has_agreed_to_as_much(
    sandbox: Sandbox, browser: requests.Session, changed: dict[str, str], outcome: int
) -> None:
    response = browser.get(
        f"{sandbox.url}/authorize", params={**PARAMS, **changed}, allow_redirects=False, timeout=10
    )

    assert response.status_code == outcome
    assert ("code=" in response.headers.get("Location", "")) == (outcome == 302)


def test_asks_again_after_the_person_removed_the_app(
    sandbox: Sandbox, browser: requests.Session
) -> None:
    sandbox.revoke("listener")

    response = browser.get(f"{sandbox.url}/authorize", params=PARAMS, timeout=10)

    assert response.status_code == 200
