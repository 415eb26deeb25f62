"""The page that a reminder's link leads to: a button, for whoever comes, and nothing by itself."""

from collections.abc import Callable

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import deletion
from accounts.models import User
from spotify_auth import connections, login
from spotify_auth.models import SpotifyToken
from tests.support.login import approve, begin, log_in
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import token_of

pytestmark = pytest.mark.django_db

PAGE = reverse("accounts:reconnect")


@pytest.fixture
def browser(spotify: Sandbox) -> Client:
    """A browser in which a listener is logged in."""
    client = Client(headers={"host": "127.0.0.1:8000"})
    log_in(client, spotify)
    return client


def connected(user: User) -> None:
    pass


def disconnected(user: User) -> None:
    connections.disconnect(user_id=user.pk)


def revoked(user: User) -> None:
    connections.revoke(user_id=user.pk)


def refused(user: User) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error="six_months_over")


def deleted(user: User) -> None:
    deletion.delete_account(user)


STATES: dict[Callable[[User], None], tuple[str, str]] = {
    connected: ("Your connection ends on", "Reconnect Spotify"),
    disconnected: ("It stays disconnected unless you press the button", "Connect Spotify"),
    revoked: ("An administrator has ended your connection", "Connect Spotify"),
    refused: ("Spotify ends every connection six months after", "Reconnect Spotify"),
    deleted: ("after a deletion it makes a new account", "Log in with Spotify"),
}
"""What the page says in each state, and its button."""


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_words_and_one_button(
    browser: Client, state: Callable[[User], None]
) -> None:
    state(User.objects.get())

    page = browser.get(PAGE)

    words, button = STATES[state]
    text = page.content.decode()
    assert page.status_code == 200
    assert words in text
    assert text.count('class="primary"') == 1
    assert f'<button class="primary">{button}</button>' in text
    assert "no-store" in page["Cache-Control"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "cross-site"}])
def test_looking_at_it_changes_nothing(
    browser: Client, spotify: Sandbox, state: Callable[[User], None], headers: dict[str, str]
) -> None:
    state(User.objects.get())
    browser.get("/")  # notes the visit, moves the session's end

    with CaptureQueriesContext(database) as queries:
        page = browser.get(PAGE, headers=headers)

    verbs = {query["sql"].split()[0] for query in queries}
    assert verbs <= {"SELECT"}
    assert login.cookie_name() not in page.cookies
    assert spotify.stats()["totals"]["logins"] == 1


@pytest.mark.parametrize("state", [connected, disconnected, revoked, refused])
def test_the_button_connects_again(
    browser: Client, spotify: Sandbox, state: Callable[[User], None]
) -> None:
    user = User.objects.get()
    state(user)
    SpotifyToken.objects.filter(closed_at__isnull=False).update(closed_at=None)  # before this test

    back = browser.get(approve(spotify, begin(browser, next=reverse("accounts:connection"))))

    assert (back.status_code, back["Location"]) == (302, reverse("accounts:connection"))
    assert token_of(user).status == SpotifyToken.Status.ACTIVE
    assert User.objects.get() == user


def test_the_button_is_a_form_of_this_site(spotify: Sandbox) -> None:
    strict = Client(enforce_csrf_checks=True)
    page = strict.get(PAGE).content.decode()

    assert 'name="csrfmiddlewaretoken"' in page
    assert strict.post(reverse("accounts:login")).status_code == 403


def test_an_administrator_is_offered_no_button(spotify: Sandbox, admin_user: User) -> None:
    browser = Client()
    browser.force_login(admin_user)

    text = browser.get(PAGE).content.decode()

    assert "who has no Spotify account here" in text
    assert f'action="{reverse("accounts:login")}"' not in text
    assert f'action="{reverse("spotify_auth:connect")}"' not in text
