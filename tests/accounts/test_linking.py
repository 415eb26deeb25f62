"""An administrator's Spotify account: linked with a password and open eyes, and unlinked again."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
import redis
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import users
from accounts.models import User
from spotify_auth import connections, login, login_attempts, schedule
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.admin import COUNTED, CountedHasher, enter_admin
from tests.support.database_faults import locked_elsewhere
from tests.support.login import approve, begin_in_the_previous_version, log_in
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import forget, token_of

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

pytestmark = pytest.mark.django_db

LINK, CONNECT, LOGIN = (
    reverse("accounts:link"),
    reverse("spotify_auth:connect"),
    reverse("accounts:login"),
)
PASSWORD = "a-long-password-1"


@pytest.fixture(autouse=True)
def _no_tries() -> Iterator[None]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "accounts:tries:*")
        yield
        forget(client, "accounts:tries:*")


@pytest.fixture(params=["is_staff", "is_superuser"])
def administrator(request: pytest.FixtureRequest) -> User:
    user = User.objects.create_user("root", password=PASSWORD)
    setattr(user, request.param, True)
    user.save()
    return user


@pytest.fixture
def browser(administrator: User) -> Client:
    client = Client(headers={"host": "127.0.0.1:8000"})
    client.force_login(administrator)
    return client


def begin_link(browser: Client, **form: str) -> dict[str, str]:
    """Type the password; the parameters with which Spotify is called."""
    response = browser.post(LINK, {"password": PASSWORD, **form})
    assert response.status_code == 302
    return dict(parse_qsl(urlsplit(response["Location"]).query))


def link(browser: Client, spotify: Sandbox, persona: str = "user-1", **form: str) -> "Response":
    return browser.get(approve(spotify, begin_link(browser, **form), persona))


def test_an_administrator_links_with_the_password(
    browser: Client, spotify: Sandbox, administrator: User
) -> None:
    page = browser.get(LINK).content.decode()
    assert "whoever controls that Spotify" in page
    assert str(administrator) in page

    response = link(browser, spotify, next="/dashboard/")

    assert (response.status_code, response["Location"]) == (302, "/dashboard/")
    assert User.objects.get() == administrator
    assert browser.session["_auth_user_id"] == str(administrator.pk)
    account_id = spotify.stats("user-1")["account_id"]
    assert (token_of(administrator).account_id, users.account_of(administrator)) == (
        account_id,
        account_id,
    )
    # From here on it is their login, as the page said.
    other = Client(headers={"host": "127.0.0.1:8000"})
    log_in(other, spotify, "user-1")
    assert other.session["_auth_user_id"] == str(administrator.pk)


def test_spotify_asks_which_account_to_link(browser: Client) -> None:
    assert begin_link(browser)["show_dialog"] == "true"


def test_a_password_that_is_hashed_anew_ends_no_session(
    browser: Client, spotify: Sandbox, administrator: User
) -> None:
    """As Django does when a password is typed for the first time after an upgrade."""
    administrator.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=2)
    administrator.save()
    browser.force_login(administrator)

    response = link(browser, spotify)

    assert response.status_code == 302
    assert users.account_of(administrator) == spotify.stats("user-1")["account_id"]
    assert User.objects.get().password != administrator.password


@pytest.mark.parametrize("password", ["wrong", "", PASSWORD + " "])
def test_a_wrong_password_links_nothing(browser: Client, password: str) -> None:
    response = browser.post(LINK, {"password": password, "next": "/dashboard/"})

    assert response.status_code == 400
    assert login.cookie_name() not in response.cookies
    text = response.content.decode()
    assert ("That is not your password" in text) is bool(password)
    assert 'name="next" value="/dashboard/"' in text
    assert f'value="{password}"' not in text or not password


def test_the_sixth_guess_is_refused_unhashed(
    browser: Client, administrator: User, settings: Settings
) -> None:
    """Whoever has an administrator's session must not find the password out here."""
    settings.PASSWORD_HASHERS = [COUNTED]
    before = CountedHasher.hashed
    for guess in range(5):
        assert browser.post(LINK, {"password": f"a-wrong-guess-{guess}"}).status_code == 400
    hashed = CountedHasher.hashed
    assert hashed > before

    refused = browser.post(LINK, {"password": PASSWORD})

    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 60
    assert CountedHasher.hashed == hashed


def test_the_password_of_somebody_else_links_nothing(browser: Client) -> None:
    User.objects.create_superuser("other", password="another-password-2")

    response = browser.post(LINK, {"password": "another-password-2", "username": "other"})

    assert response.status_code == 400


@pytest.mark.parametrize("address", [CONNECT, LOGIN])
def test_no_other_button_leads_an_administrator_to_spotify(browser: Client, address: str) -> None:
    response = browser.post(address, {"next": "/connection/"})

    assert response["Location"] == f"{LINK}?next=%2Fconnection%2F"
    assert login.cookie_name() not in response.cookies
    assert b'name="next" value="/connection/"' in browser.get(response["Location"]).content


def test_a_login_begun_to_connect_links_no_administrator(
    browser: Client, spotify: Sandbox, administrator: User
) -> None:
    # Begun by a mere user, who became an administrator on the way.
    User.objects.update(is_staff=False, is_superuser=False)
    sent = browser.post(CONNECT)
    User.objects.update(is_staff=True)

    response = browser.get(
        approve(spotify, dict(parse_qsl(urlsplit(sent["Location"]).query)), "user-1")
    )

    assert response.status_code == 409
    assert "Linking needs your password" in response.content.decode()
    assert f'href="{LINK}"' in response.content.decode()
    assert not SpotifyToken.objects.exists()


def test_one_begun_before_an_upgrade_links_no_administrator(
    browser: Client, spotify: Sandbox, administrator: User
) -> None:
    old = begin_in_the_previous_version(
        door="connect", for_user=str(administrator.pk), switch=False
    )
    browser.cookies[old.cookie_name] = old.cookie

    response = browser.get(approve(spotify, old.parameters))

    assert response.status_code == 409
    assert "Linking needs your password" in response.content.decode()
    assert not SpotifyToken.objects.exists()


def test_the_password_counts_for_five_minutes(browser: Client, spotify: Sandbox) -> None:
    address = approve(spotify, begin_link(browser))
    name = login.cookie_name()
    (attempt,) = login_attempts.read(browser.cookies[name].value)
    late = replace(attempt, begun_at=attempt.begun_at - 301)
    browser.cookies[name] = login_attempts.seal([late])

    response = browser.get(address)

    assert response.status_code == 400
    assert "five to link an account" in response.content.decode()
    assert not SpotifyToken.objects.exists()


def test_an_account_of_another_user_is_not_linked(
    browser: Client, spotify: Sandbox, administrator: User
) -> None:
    log_in(Client(headers={"host": "127.0.0.1:8000"}), spotify, "user-1")

    response = link(browser, spotify, "user-1")

    assert response.status_code == 409
    assert "belongs to another user" in response.content.decode()
    assert not SpotifyToken.objects.filter(pk=administrator.pk).exists()


def test_a_linked_administrator_reconnects_by_the_button_and_swaps_no_account(
    browser: Client, spotify: Sandbox, administrator: User
) -> None:
    link(browser, spotify, "user-1")
    assert browser.get(LINK)["Location"] == reverse("accounts:connection")
    assert log_in(browser, spotify, "user-1").status_code == 302
    assert token_of(administrator).generation == 2
    connections.disconnect(user_id=administrator.pk)
    SpotifyToken.objects.update(closed_at=Now() - timedelta(minutes=1))

    sent = browser.post(CONNECT)
    back = browser.get(
        approve(spotify, dict(parse_qsl(urlsplit(sent["Location"]).query)), "user-2")
    )

    assert back.status_code == 409
    assert "Linking needs your password" in back.content.decode()
    assert users.account_of(administrator) == spotify.stats("user-1")["account_id"]


def test_the_page_is_for_administrators(client: Client) -> None:
    assert client.get(LINK)["Location"] == f"/?next={LINK}"
    client.force_login(User.objects.create_user("ada", password=PASSWORD))

    for answer in (client.get(LINK), client.post(LINK, {"password": PASSWORD})):
        assert answer["Location"] == reverse("accounts:connection")


def test_who_has_no_password_is_told(client: Client) -> None:
    client.force_login(User.objects.create_user("root", is_staff=True))

    text = client.get(LINK).content.decode()

    assert "You have no password here" in text
    assert 'type="password"' not in text


def test_linking_needs_a_csrf_token(administrator: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(administrator)

    assert strict.post(LINK, {"password": PASSWORD}).status_code == 403


# Unlinking.


@pytest.fixture
def root(client: Client) -> Client:
    enter_admin(client, User.objects.create_superuser("chief", password=PASSWORD))
    return client


def unlink(root: Client, *chosen: User) -> str:
    form = {"action": "unlink_spotify", "_selected_action": [str(user.pk) for user in chosen]}
    page = root.post(reverse("admin:accounts_user_changelist"), form, follow=True)
    return page.content.decode()


def test_an_administrator_is_unlinked_in_the_admin(
    root: Client, browser: Client, spotify: Sandbox, administrator: User
) -> None:
    link(browser, spotify, "user-1")

    assert "1 users have no Spotify account" in unlink(root, administrator)

    assert users.account_of(User.objects.get(pk=administrator.pk)) is None
    token = token_of(administrator)
    assert (token.status, token.refresh_token) == (SpotifyToken.Status.REVOKED, None)
    event = TokenEvent.objects.get(outcome=Outcome.REVOKED)
    assert (event.asked_by, event.reason) == ("chief", "The Spotify account was unlinked.")
    assert "Unlinked" in LogEntry.objects.get().get_change_message()
    # That account is a stranger's from here on.
    other = Client(headers={"host": "127.0.0.1:8000"})
    log_in(other, spotify, "user-1")
    assert other.session["_auth_user_id"] != str(administrator.pk)


def test_another_account_can_be_linked_after_that(
    root: Client, browser: Client, spotify: Sandbox, administrator: User
) -> None:
    link(browser, spotify, "user-1")
    unlink(root, administrator)
    SpotifyToken.objects.update(closed_at=Now() - timedelta(minutes=1))
    assert browser.get(LINK).status_code == 302  # to log in: unlinking ended the sessions
    browser.force_login(User.objects.get(pk=administrator.pk))

    assert link(browser, spotify, "user-2").status_code == 302
    assert users.account_of(administrator) == spotify.stats("user-2")["account_id"]


def test_nobody_is_locked_out_by_unlinking(root: Client, spotify: Sandbox) -> None:
    log_in(Client(headers={"host": "127.0.0.1:8000"}), spotify, "user-1")
    listener = User.objects.get(username=None)

    assert "1 users have no username or no password" in unlink(root, listener)
    assert users.account_of(listener)
    assert token_of(listener).status == SpotifyToken.Status.ACTIVE


def test_who_may_only_look_is_offered_no_unlinking(
    client: Client, browser: Client, spotify: Sandbox, administrator: User
) -> None:
    link(browser, spotify, "user-1")
    viewer = User.objects.create_user("viewer", password=PASSWORD, is_staff=True)
    enter_admin(client, viewer)

    unlink(client, administrator)

    assert users.account_of(administrator)


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_being_refreshed_is_named(
    root: Client,
    browser: Client,
    spotify: Sandbox,
    administrator: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link(browser, spotify, "user-1")
    monkeypatch.setattr(schedule, "longest_exchange", lambda deadline: 0.05)

    with locked_elsewhere(
        "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", administrator.pk
    ):
        said = unlink(root, administrator)

    assert "1 tokens were being refreshed" in said
    assert users.account_of(administrator)
