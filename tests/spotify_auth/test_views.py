"""Connecting Spotify to the user who is logged in, and disconnecting.

Each test runs with the product's callback, which answers for two doors, and with the app's own.
"""

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, login
from spotify_auth.models import SpotifyToken
from tests.support.login import approve
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import token_of

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

pytestmark = pytest.mark.django_db

CONNECT, DISCONNECT = "/spotify/connect/", "/spotify/disconnect/"


@pytest.fixture(params=["config.urls", "tests.support.urls_alone"], autouse=True)
def site(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.ROOT_URLCONF = request.param
    urls: str = request.param
    return urls


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ada", password="x")


@pytest.fixture
def browser(user: User) -> Client:
    client = Client(headers={"host": "127.0.0.1:8000"})
    client.force_login(user)
    return client


def begin(browser: Client, **form: str) -> dict[str, str]:
    """Press the button; the parameters with which Spotify is called."""
    response = browser.post(CONNECT, form)
    assert response.status_code == 302
    assert "/authorize?" in response["Location"]
    return dict(parse_qsl(urlsplit(response["Location"]).query))


def connect(browser: Client, spotify: Sandbox, persona: str = "user-1", **form: str) -> "Response":
    """Press the button and agree on Spotify's page; the answer to the callback."""
    return browser.get(approve(spotify, begin(browser, **form), persona))


def assert_refused(response: "Response", words: str) -> None:
    assert response.status_code == 409
    assert words in response.content.decode()
    assert not response.cookies.get("sessionid")


def test_the_grant_is_stored_for_the_user_who_is_logged_in(
    browser: Client, spotify: Sandbox, user: User
) -> None:
    response = connect(browser, spotify)

    assert (response.status_code, response["Location"]) == (302, reverse("accounts:connection"))
    assert User.objects.get() == user
    token = token_of(user)
    assert (token.status, token.generation) == (SpotifyToken.Status.ACTIVE, 1)
    assert token.account_id == spotify.stats("user-1")["account_id"]
    assert not browser.cookies[login.cookie_name()].value


@pytest.mark.parametrize(
    ("wanted", "arrives"),
    [("/dashboard/?a=b", "/dashboard/?a=b"), ("https://evil.example/", "/connection/")],
)
def test_leads_back_to_a_page_of_this_site(
    browser: Client, spotify: Sandbox, wanted: str, arrives: str
) -> None:
    assert connect(browser, spotify, next=wanted)["Location"] == arrives


def test_the_same_account_may_be_connected_again(
    browser: Client, spotify: Sandbox, user: User
) -> None:
    connect(browser, spotify)

    assert connect(browser, spotify).status_code == 302

    assert token_of(user).generation == 2


def test_only_the_user_who_began_may_complete_it(
    browser: Client, spotify: Sandbox, user: User
) -> None:
    address = approve(spotify, begin(browser))
    other = User.objects.create_user("bob", password="x")
    browser.force_login(other)

    assert_refused(browser.get(address), "Somebody else began this login")

    assert not SpotifyToken.objects.exists()
    assert not User.objects.exclude(pk__in=[user.pk, other.pk]).exists()
    # The code was not even tried, and the attempt is used up.
    assert spotify.stats()["totals"]["logins"] == 0
    browser.force_login(user)
    assert browser.get(address).status_code == 400


def test_nobody_may_complete_it_after_logging_out(browser: Client, spotify: Sandbox) -> None:
    address = approve(spotify, begin(browser))
    del browser.cookies["sessionid"]

    assert_refused(browser.get(address), "You were logged out meanwhile")

    assert not SpotifyToken.objects.exists()
    assert User.objects.count() == 1
    assert spotify.stats()["totals"]["logins"] == 0


def test_another_account_does_not_replace_the_one_that_is_connected(
    browser: Client, spotify: Sandbox, user: User
) -> None:
    connect(browser, spotify, "user-1")

    assert_refused(connect(browser, spotify, "user-2"), "That is another Spotify account")

    token = token_of(user)
    assert (token.generation, token.account_id) == (1, spotify.stats("user-1")["account_id"])


@pytest.mark.parametrize("close", [connections.disconnect, connections.revoke])
def test_another_account_may_follow_one_that_was_disconnected(
    browser: Client, spotify: Sandbox, user: User, close: object
) -> None:
    connect(browser, spotify, "user-1")
    close(user_id=user.pk)  # type: ignore[operator]
    SpotifyToken.objects.update(closed_at=F("authorized_at"))  # before this transaction began

    assert connect(browser, spotify, "user-2").status_code == 302

    token = token_of(user)
    assert (token.status, token.account_id) == ("active", spotify.stats("user-2")["account_id"])


def test_an_account_of_another_user_is_refused(
    browser: Client, spotify: Sandbox, user: User
) -> None:
    connect(browser, spotify)
    other = User.objects.create_user("bob", password="x")
    browser.force_login(other)

    assert_refused(connect(browser, spotify), "belongs to another user")

    assert SpotifyToken.objects.get().user == user


def test_an_account_that_was_disconnected_is_free_unless_users_log_in_by_it(
    browser: Client, spotify: Sandbox, user: User, site: str
) -> None:
    connect(browser, spotify)
    connections.disconnect(user_id=user.pk)
    other = User.objects.create_user("bob", password="x")
    browser.force_login(other)

    answer = connect(browser, spotify)

    account_id = spotify.stats("user-1")["account_id"]
    if site == "config.urls":
        assert_refused(answer, "belongs to another user")
        assert token_of(user).account_id == account_id
    else:
        assert answer.status_code == 302
        assert (token_of(user).account_id, token_of(other).account_id) == (None, account_id)


def test_a_login_is_no_way_to_connect(
    browser: Client, spotify: Sandbox, user: User, site: str
) -> None:
    begun = login.begin(door=login.Door.LOGIN, next_url="", user_id=user.pk, cookie="")
    browser.cookies[login.cookie_name()] = begun.cookie
    parameters = dict(parse_qsl(urlsplit(begun.url).query))

    response = browser.get(approve(spotify, parameters))

    assert response.status_code == (400 if site == "tests.support.urls_alone" else 409)
    assert not SpotifyToken.objects.exists()
    assert User.objects.get() == user


def test_only_a_user_who_is_logged_in_may_connect(browser: Client) -> None:
    del browser.cookies["sessionid"]

    for address in (CONNECT, DISCONNECT):
        response = browser.post(address, {"next": "/dashboard/"})
        assert (response.status_code, response["Location"]) == (302, "/?next=/dashboard/")
        assert login.cookie_name() not in response.cookies


@pytest.mark.parametrize("address", [CONNECT, DISCONNECT])
def test_only_a_form_of_this_site_acts(browser: Client, user: User, address: str) -> None:
    assert browser.get(address).status_code == 405

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(address).status_code == 403


def test_disconnecting_erases_our_copy(browser: Client, spotify: Sandbox, user: User) -> None:
    connect(browser, spotify)

    response = browser.post(DISCONNECT)

    assert response["Location"] == reverse("accounts:connection")
    token = token_of(user)
    assert (token.status, token.access_token, token.refresh_token) == ("disconnected", None, None)
    assert browser.post(DISCONNECT, {"next": "/dashboard/"})["Location"] == "/dashboard/"


def test_a_failure_is_told_without_a_secret(
    browser: Client, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    address = approve(spotify, begin(browser))
    spotify.faults("invalid_client")

    response = browser.get(address)

    assert response.status_code == 503
    assert "not set up correctly" in response.content.decode()
    assert response["Referrer-Policy"] == "strict-origin"
    assert "no-store" in response["Cache-Control"]
    assert "login_failed reason=misconfigured" in caplog.text
    code = dict(parse_qsl(urlsplit(address).query))["code"]
    assert code not in caplog.text + response.content.decode()


def test_a_limit_is_told_with_its_end(browser: Client, spotify: Sandbox) -> None:
    address = approve(spotify, begin(browser))
    spotify.faults("web_api_error", status=429, message="x", retry_after="48925")

    response = browser.get(address)

    assert (response.status_code, response["Retry-After"]) == (503, "48926")
    assert "in about 14 hours" in response.content.decode()


def test_a_redirect_uri_that_spotify_refuses_is_the_operators_to_mend(
    browser: Client, spotify: Sandbox, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    address = approve(spotify, begin(browser))
    settings.SPOTIFY_REDIRECT_URI += "?changed"  # between the way there and the exchange

    response = browser.get(address)

    assert response.status_code == 503
    assert "not set up correctly" in response.content.decode()
    assert 'login_code_refused description="Invalid redirect URI"' in caplog.text


def test_a_code_that_is_refused_is_no_fault_of_the_site(
    browser: Client, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    address = approve(spotify, begin(browser))
    spotify.faults("false_invalid_grant")

    assert browser.get(address).status_code == 400
    (line,) = [r for r in caplog.records if "login_code_refused" in r.getMessage()]
    assert line.levelname == "WARNING"
