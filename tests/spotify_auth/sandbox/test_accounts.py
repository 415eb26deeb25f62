"""The token endpoint, as it is without faults."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from spotify_auth.sandbox.exchange import Exchange, TokenError
from spotify_auth.sandbox.faults import Faults
from spotify_auth.sandbox.state import Settings, State
from spotify_auth.sandbox.worlds import World
from tests.support.sandbox_client import REDIRECT_URI, SCOPES, Sandbox

AUTHORIZE = {
    "client_id": Sandbox.client_id,
    "response_type": "code",
    "redirect_uri": REDIRECT_URI,
    "state": "s",
    "scope": SCOPES,
}
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
WITH_PKCE = {
    "code_challenge_method": "S256",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
}


@pytest.fixture(scope="module")
def short_lived() -> Iterator[Sandbox]:
    """A sandbox in which everything expires after a second."""
    options = ["--code-lifetime", "1", "--refresh-token-lifetime", "1"]
    with Sandbox(access_token_lifetime=1, options=options) as sandbox:
        yield sandbox


def code_for(sandbox: Sandbox, persona: str = "listener", **more: str) -> str:
    location = sandbox.authorize({**AUTHORIZE, **more}, persona)
    return parse_qs(urlsplit(location).query)["code"][0]


def exchange(sandbox: Sandbox, code: str, **changed: str) -> requests.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    return sandbox.token(**{**form, **changed})


def error_of(response: requests.Response) -> tuple[int, dict[str, Any]]:
    assert response.headers["Cache-Control"] == "no-store"
    return response.status_code, response.json()


def invalid_grant(description: str) -> tuple[int, dict[str, str]]:
    return 400, {"error": "invalid_grant", "error_description": description}


def test_exchanges_a_code_for_a_pair_of_tokens(sandbox: Sandbox) -> None:
    response = exchange(sandbox, code_for(sandbox))
    answer = response.json()

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"].startswith("application/json")
    assert {k: v for k, v in answer.items() if not k.endswith("_token")} == {
        "token_type": "Bearer",
        "scope": SCOPES,
        "expires_in": 120,
    }
    assert sandbox.get("/v1/me", answer["access_token"]).status_code == 200
    assert sandbox.refresh(answer["refresh_token"]).status_code == 200


def test_without_scopes_the_scope_is_blank(sandbox: Sandbox) -> None:
    assert exchange(sandbox, code_for(sandbox, scope="")).json()["scope"] == ""


def test_every_login_has_tokens_of_its_own(sandbox: Sandbox) -> None:
    first = exchange(sandbox, code_for(sandbox)).json()
    second = exchange(sandbox, code_for(sandbox)).json()

    assert sandbox.refresh(first["refresh_token"]).status_code == 200
    assert sandbox.refresh(second["refresh_token"]).status_code == 200


def test_a_code_is_good_once(sandbox: Sandbox) -> None:
    code = code_for(sandbox)
    exchange(sandbox, code)

    assert error_of(exchange(sandbox, code)) == invalid_grant("Invalid authorization code")


def test_a_code_is_spent_by_a_failed_attempt(sandbox: Sandbox) -> None:
    code = code_for(sandbox)
    exchange(sandbox, code, redirect_uri="https://example.com/")

    assert error_of(exchange(sandbox, code)) == invalid_grant("Invalid authorization code")


def test_refuses_a_code_it_never_gave(sandbox: Sandbox) -> None:
    assert error_of(exchange(sandbox, "AQnonsense")) == invalid_grant("Invalid authorization code")


def test_refuses_another_redirect_uri_than_at_authorize(sandbox: Sandbox) -> None:
    response = exchange(sandbox, code_for(sandbox), redirect_uri=REDIRECT_URI.rstrip("/"))

    assert error_of(response) == invalid_grant("Invalid redirect URI")


def test_refuses_what_is_too_old(short_lived: Sandbox) -> None:
    code = code_for(short_lived)
    tokens = short_lived.connect(["listener"])["listener"]
    time.sleep(1.1)

    assert error_of(exchange(short_lived, code)) == invalid_grant("Authorization code expired")
    assert error_of(short_lived.refresh(tokens["refresh_token"])) == invalid_grant(
        "Refresh token expired"
    )
    refused = short_lived.get("/v1/me", tokens["access_token"])
    message = {"status": 401, "message": "The access token expired"}
    assert (refused.status_code, refused.json()) == (401, {"error": message})


def test_forgets_codes_that_expired_long_ago(short_lived: Sandbox) -> None:
    code = code_for(short_lived)
    time.sleep(2.1)
    code_for(short_lived)  # making a code clears away the old ones

    assert error_of(exchange(short_lived, code)) == invalid_grant("Invalid authorization code")


@pytest.mark.parametrize(
    ("challenge", "verifier", "outcome"),
    [
        (WITH_PKCE, {"code_verifier": VERIFIER}, (200, None)),
        (
            WITH_PKCE,
            {},
            (400, {"error": "invalid_request", "error_description": "code_verifier required"}),
        ),
        (WITH_PKCE, {"code_verifier": "x" * 43}, invalid_grant("code_verifier was incorrect")),
        (WITH_PKCE, {"code_verifier": "too-short"}, invalid_grant("code_verifier was incorrect")),
        # A verifier where no challenge was: somebody stripped the challenge on the way.
        ({}, {"code_verifier": VERIFIER}, invalid_grant("code_verifier was incorrect")),
        ({}, {"code_verifier": "too-short"}, invalid_grant("code_verifier was incorrect")),
    ],
)
def test_checks_the_pkce_verifier(
    sandbox: Sandbox,
    challenge: dict[str, str],
    verifier: dict[str, str],
    outcome: tuple[int, dict[str, str] | None],
) -> None:
    response = exchange(sandbox, code_for(sandbox, **challenge), **verifier)

    status, body = outcome
    assert response.status_code == status
    assert body is None or response.json() == body


def test_refreshing_gives_a_new_pair(sandbox: Sandbox) -> None:
    first = sandbox.connect(["listener"])["listener"]
    answer = sandbox.refresh(first["refresh_token"]).json()

    assert answer["access_token"] != first["access_token"]
    assert answer["refresh_token"] != first["refresh_token"]
    assert answer["token_type"] == "Bearer"
    assert answer["scope"] == SCOPES
    assert answer["expires_in"] == 120


def test_the_old_access_token_lives_on_after_a_refresh(sandbox: Sandbox) -> None:
    first = sandbox.connect(["listener"])["listener"]
    sandbox.refresh(first["refresh_token"])

    assert sandbox.get("/v1/me", first["access_token"]).status_code == 200


def test_the_old_refresh_token_is_dead_at_once_and_the_new_one_unharmed(sandbox: Sandbox) -> None:
    old = sandbox.connect(["listener"])["listener"]["refresh_token"]
    new = sandbox.refresh(old).json()["refresh_token"]

    assert error_of(sandbox.refresh(old)) == invalid_grant("Refresh token revoked")
    assert sandbox.refresh(new).status_code == 200


@pytest.mark.parametrize("garbage", ["x", "AQ" + "A" * 116, "ü", "AQ=="])
def test_refuses_garbage_for_a_refresh_token(sandbox: Sandbox, garbage: str) -> None:
    assert error_of(sandbox.refresh(garbage)) == invalid_grant("Invalid refresh token")


def test_refuses_an_access_token_for_a_refresh_token(sandbox: Sandbox) -> None:
    tokens = sandbox.connect(["listener"])["listener"]

    assert error_of(sandbox.refresh(tokens["access_token"])) == invalid_grant(
        "Invalid refresh token"
    )


def test_refreshing_does_not_extend_the_six_months(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    state = State(
        Settings(
            client_id="id",
            client_secret="secret",
            redirect_uris=(),
            access_token_lifetime=120,
            refresh_token_lifetime=100,
            world=World.ROTATING,
        )
    )

    def refresh(token: str) -> dict[str, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return Exchange(state, Faults(), form).carry_out()

    token = state.refresh_token(state.new_grant(state.account("listener"), SCOPES))
    now += 99
    refreshed = refresh(token)["refresh_token"]
    now += 1

    with pytest.raises(TokenError) as refused:
        refresh(refreshed)
    assert refused.value.description == "Refresh token expired"


@pytest.mark.parametrize(
    ("form", "error", "description"),
    [
        ({}, "unsupported_grant_type", "grant_type parameter is missing"),
        (
            {"grant_type": "password"},
            "unsupported_grant_type",
            "grant_type must be client_credentials, authorization_code or refresh_token",
        ),
        ({"grant_type": "refresh_token"}, "invalid_request", "refresh_token must be supplied"),
        (
            {"grant_type": "refresh_token", "refresh_token": ""},
            "invalid_request",
            "refresh_token must be supplied",
        ),
        ({"grant_type": "authorization_code"}, "invalid_request", "code must be supplied"),
        (
            {"grant_type": "authorization_code", "code": "x"},
            "invalid_request",
            "redirect_uri must be supplied",
        ),
    ],
)
def test_refuses_incomplete_requests(
    sandbox: Sandbox, form: dict[str, str], error: str, description: str
) -> None:
    assert error_of(sandbox.token(**form)) == (
        400,
        {"error": error, "error_description": description},
    )


def test_gives_the_application_a_token_that_is_nobodys(sandbox: Sandbox) -> None:
    given = sandbox.token(grant_type="client_credentials").json()

    assert given.keys() == {"access_token", "token_type", "expires_in"}
    assert sandbox.get("/v1/me", given["access_token"]).status_code == 401


CLIENT = {"client_id": Sandbox.client_id, "client_secret": Sandbox.client_secret}
BASIC = requests.auth._basic_auth_str(Sandbox.client_id, Sandbox.client_secret)


def refresh_as(sandbox: Sandbox, client: dict[str, str], authorization: str) -> requests.Response:
    """A refresh that would succeed, if the client were believed."""
    token = sandbox.connect(["listener"])["listener"]["refresh_token"]
    return requests.post(
        f"{sandbox.url}/api/token",
        headers={"Authorization": authorization} if authorization else {},
        data={"grant_type": "refresh_token", "refresh_token": token, **client},
        timeout=10,
    )


@pytest.mark.parametrize(
    ("client", "authorization"),
    [
        ({}, BASIC),
        (CLIENT, ""),
        # An id is no secret: requests-oauthlib sends it with either.
        ({"client_id": Sandbox.client_id}, BASIC),
    ],
)
def test_takes_the_client_secret_in_the_header_or_in_the_body(
    sandbox: Sandbox, client: dict[str, str], authorization: str
) -> None:
    assert refresh_as(sandbox, client, authorization).status_code == 200


@pytest.mark.parametrize(
    ("client", "authorization", "description"),
    [
        # The header.
        ({}, "Bearer x", "Invalid client"),
        ({}, "Basic ???", "Invalid client"),
        ({}, "Basic b3RoZXI6c2FuZGJveC1zZWNyZXQ=", "Invalid client"),
        ({}, "Basic c2FuZGJveC1jbGllbnQ=", "Invalid client secret"),
        ({}, "Basic c2FuZGJveC1jbGllbnQ6d3Jvbmc=", "Invalid client secret"),
        ({"client_id": "another"}, BASIC, "Invalid client"),
        # The body.
        ({}, "", "Invalid client"),
        ({**CLIENT, "client_id": "another"}, "", "Invalid client"),
        ({"client_secret": Sandbox.client_secret}, "", "Invalid client"),
        ({"client_id": Sandbox.client_id}, "", "Invalid client secret"),
        ({**CLIENT, "client_secret": "wrong"}, "", "Invalid client secret"),
        ({**CLIENT, "client_secret": "ü"}, "", "Invalid client secret"),
    ],
)
def test_refuses_a_client_that_does_not_know_the_secret(
    sandbox: Sandbox, client: dict[str, str], authorization: str, description: str
) -> None:
    assert error_of(refresh_as(sandbox, client, authorization)) == (
        400,
        {"error": "invalid_client", "error_description": description},
    )


@pytest.mark.parametrize(
    ("client", "answer"),
    [
        (
            {"client_secret": "wrong"},
            {"error": "invalid_client", "error_description": "Invalid client secret"},
        ),
        (
            {"client_secret": ""},
            {"error": "invalid_client", "error_description": "Invalid client secret"},
        ),
        (
            {"client_id": "wrong"},
            {"error": "invalid_client", "error_description": "Invalid client"},
        ),
    ],
)
def test_two_ways_of_authentication_at_once_must_agree(
    sandbox: Sandbox, client: dict[str, str], answer: dict[str, str]
) -> None:
    """As social-auth authenticates: by the header and by the body."""
    assert refresh_as(sandbox, CLIENT, BASIC).ok

    response = refresh_as(sandbox, {**CLIENT, **client}, BASIC)

    assert error_of(response) == (400, answer)


def test_does_not_read_json(sandbox: Sandbox) -> None:
    response = requests.post(
        f"{sandbox.url}/api/token",
        json={"grant_type": "refresh_token", "refresh_token": "x"},
        auth=(Sandbox.client_id, Sandbox.client_secret),
        timeout=10,
    )

    assert error_of(response) == (
        400,
        {
            "error": "unsupported_grant_type",
            "error_description": "grant_type parameter is missing",
        },
    )


@pytest.mark.parametrize(
    ("body", "status", "description"),
    [
        (b"grant_type=" + b"x" * 20_000, 413, "Request body too large"),
        (b"grant_type=refresh_token&grant_type=refresh_token", 400, "Repeated parameter"),
        (b"grant_type=\xff", 400, "Malformed request body"),
        (b"&".join(b"p%d=1" % n for n in range(50)), 400, "Malformed request body"),
    ],
)
def test_refuses_unusable_bodies(
    sandbox: Sandbox, body: bytes, status: int, description: str
) -> None:
    response = requests.post(
        f"{sandbox.url}/api/token",
        data=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        auth=(Sandbox.client_id, Sandbox.client_secret),
        timeout=10,
    )

    assert error_of(response) == (
        status,
        {"error": "invalid_request", "error_description": description},
    )


def test_answers_post_only(sandbox: Sandbox) -> None:
    assert requests.get(f"{sandbox.url}/api/token", timeout=10).status_code == 405
