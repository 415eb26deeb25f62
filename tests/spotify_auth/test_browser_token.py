"""POST /api/spotify/token: who gets the access token into a browser, and who does not."""

from collections.abc import Callable

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.dateparse import parse_datetime
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections
from spotify_auth.models import Cause, SpotifyToken
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db

ADDRESS = "/api/spotify/token"
OUR_PAGE = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}


@pytest.fixture
def user(connect: Connect, client: Client) -> User:
    user = connect(due=False, scope="streaming user-read-private")
    client.force_login(user)
    return user


def test_gives_the_access_token_and_its_expiry(client: Client, user: User) -> None:
    answer = client.post(ADDRESS, headers=OUR_PAGE)

    stored = token_of(user)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "expires_at"}
    assert answer.json()["access_token"] == stored.access_token
    expires_at = parse_datetime(answer.json()["expires_at"])
    assert expires_at
    assert abs((expires_at - stored.expires_at).total_seconds()) < 0.001
    assert "no-store" in answer["Cache-Control"]


def test_no_answer_ever_holds_the_refresh_token(client: Client, user: User) -> None:
    refresh_token = token_of(user).refresh_token

    assert refresh_token
    assert refresh_token not in client.post(ADDRESS, headers=OUR_PAGE).content.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1"},  # a browser without Sec-Fetch-Site
        {"sec-fetch-site": "same-origin"},
    ],
)
def test_one_sign_of_our_own_page_is_enough(
    client: Client, user: User, headers: dict[str, str]
) -> None:
    assert client.post(ADDRESS, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},  # nobody says where this comes from
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "https://127.0.0.1"},  # another scheme
        {"origin": "http://127.0.0.1:8000"},  # another port
        {**OUR_PAGE, "sec-fetch-site": "cross-site"},
        {**OUR_PAGE, "sec-fetch-site": "same-site"},
        {**OUR_PAGE, "sec-fetch-site": "none"},
        {**OUR_PAGE, "origin": "https://evil.example"},
    ],
)
def test_other_pages_get_nothing(client: Client, user: User, headers: dict[str, str]) -> None:
    answer = client.post(ADDRESS, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "not_same_origin")


def test_an_origin_that_is_trusted_with_forms_gets_nothing(user: User, settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["http://friend.example"]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    token = csrf_token_of(browser)

    answer = browser.post(
        ADDRESS, headers={"origin": "http://friend.example", "x-csrftoken": token}
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "not_same_origin")


def csrf_token_of(browser: Client) -> str:
    """What a page's form holds."""
    token: str = browser.get("/").context["csrf_token"]
    return str(token)


def test_a_csrf_token_is_needed(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    token = csrf_token_of(browser)

    without = browser.post(ADDRESS, headers=OUR_PAGE)
    with_it = browser.post(ADDRESS, headers={**OUR_PAGE, "x-csrftoken": token})

    assert (without.status_code, with_it.status_code) == (403, 200)
    assert b"access_token" not in without.content


def test_strangers_get_nothing(client: Client) -> None:
    answer = client.post(ADDRESS, headers=OUR_PAGE)

    assert (answer.status_code, answer.json()["code"]) == (401, "not_logged_in")


def test_without_streaming_there_is_no_token(client: Client, connect: Connect) -> None:
    client.force_login(connect(due=False, scope="user-top-read"))

    answer = client.post(ADDRESS, headers=OUR_PAGE)

    assert answer.status_code == 403
    assert answer.json()["code"] == "insufficient_scope"
    assert answer.json()["scopes"] == ["streaming"]


def test_a_stale_token_is_nudged_and_asked_for_again(
    client: Client, user: User, spotify: Sandbox
) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(due_at=connections.database_now())

    answer = client.post(ADDRESS, headers=OUR_PAGE)

    assert (answer.status_code, answer.json()["code"]) == (503, "reconnecting")
    assert int(answer["Retry-After"]) > 0
    assert (token_of(user).due_cause, token_of(user).asked_by) == (
        Cause.STALE_READ,
        "browser_token",
    )
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def need_a_reconnect(user: User) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error="invalid_grant")


def disconnect(user: User) -> None:
    connections.disconnect(user_id=user.pk)


@pytest.mark.parametrize(
    ("happens", "code"),
    [(need_a_reconnect, "reconnect_required"), (disconnect, "not_connected")],
)
def test_who_must_connect_first_is_told(
    client: Client, user: User, happens: Callable[[User], None], code: str
) -> None:
    happens(user)

    answer = client.post(ADDRESS, headers=OUR_PAGE)

    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert "no-store" in answer["Cache-Control"]


def test_only_a_post_is_answered(client: Client, user: User) -> None:
    assert client.get(ADDRESS, headers=OUR_PAGE).status_code == 405


def test_one_read_of_the_token(client: Client, user: User) -> None:
    client.get("/")  # the first page of the day notes that the user was here
    with CaptureQueriesContext(database) as queries:
        client.post(ADDRESS, headers=OUR_PAGE)

    assert len([q for q in queries if "spotifytoken" in q["sql"]]) == 1
