"""Cookies with a prefix, and those of the previous version, over an upgrade."""

from typing import TYPE_CHECKING

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from accounts.models import User

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

pytestmark = pytest.mark.django_db

PAGE, REMINDER = "/connection/", "/account/reminder/"
SESSION, CSRF = "__Host-sessionid", "__Host-csrftoken"


class Browser(Client):
    """A browser that keeps cookies as the site gives them."""

    def have(self, **cookies: str) -> None:
        self.cookies.clear()
        for name, value in cookies.items():
            self.cookies[name] = value


@pytest.fixture
def session() -> str:
    """The key of a session that began in the previous version."""
    client = Client()
    client.force_login(User.objects.create_user("ada", password="x"))
    return client.cookies["sessionid"].value


@pytest.fixture
def https(session: str, settings: Settings) -> None:
    settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME = SESSION, CSRF
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True


@pytest.fixture
def browser(https: None) -> Browser:
    return Browser(enforce_csrf_checks=True)


def given(answer: "Response", *names: str) -> list[str]:
    """The values of the cookies that are set, in this order; blank where one is deleted."""
    return [answer.cookies[name].value for name in names if name in answer.cookies]


def test_a_session_of_the_previous_version_goes_on(browser: Browser, session: str) -> None:
    browser.have(sessionid=session)

    answer = browser.get(PAGE)

    assert answer.status_code == 200
    assert given(answer, SESSION, "sessionid") == [session, session]
    cookie = answer.cookies[SESSION]
    assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert cookie["secure"]
    assert cookie["httponly"]
    # And by the new name alone, in the next release.
    browser.have(**{SESSION: session})
    assert browser.get(PAGE).status_code == 200


@pytest.mark.parametrize("headers", [{"hx-request": "true"}, {"sec-fetch-mode": "cors"}])
def test_a_tab_that_polls_moves_nothing(
    browser: Browser, session: str, headers: dict[str, str]
) -> None:
    browser.have(sessionid=session)

    answer = browser.get(PAGE, headers=headers)

    assert answer.status_code == 200
    assert given(answer, SESSION) == []


def test_the_new_name_counts_more(browser: Browser, session: str) -> None:
    browser.have(sessionid="planted", **{SESSION: session})
    assert browser.get(PAGE).status_code == 200

    browser.have(sessionid=session, **{SESSION: "ended"})
    assert browser.get(PAGE).status_code == 302


def test_a_session_of_this_version_is_not_taken_under_the_old_name(browser: Browser) -> None:
    browser.force_login(User.objects.create_user("mallory", password="x"))
    key = browser.cookies[SESSION].value
    assert browser.get(PAGE).status_code == 200

    browser.have(sessionid=key)  # as another host could plant it on somebody

    assert browser.get(PAGE).status_code == 302


def test_a_session_that_has_ended_is_not_moved(browser: Browser, session: str) -> None:
    Session.objects.all().delete()
    browser.have(sessionid=session)

    answer = browser.get(PAGE)

    assert answer.status_code == 302
    assert given(answer, SESSION, "sessionid") == []


def test_a_form_of_the_previous_version_is_taken(browser: Browser, session: str) -> None:
    token = "c" * 32
    browser.have(sessionid=session, csrftoken=token)

    answer = browser.post(REMINDER, {"email": "a@example.com", "csrfmiddlewaretoken": token})

    assert answer.status_code == 302
    assert User.objects.get().email == "a@example.com"


def test_both_names_are_given_so_that_the_previous_version_knows_the_same(
    browser: Browser, session: str
) -> None:
    browser.have(**{SESSION: session})
    page = browser.get(PAGE)
    assert len(set(given(page, CSRF, "csrftoken"))) == 1

    (token,) = set(given(page, CSRF, "csrftoken"))
    gone = browser.post("/logout/", {"csrfmiddlewaretoken": token})

    assert gone.status_code == 302
    assert given(gone, SESSION, "sessionid") == ["", ""]


def test_without_https_there_is_one_name(session: str) -> None:
    browser = Browser()
    browser.have(sessionid=session)

    answer = browser.get(PAGE)

    assert set(answer.cookies) <= {"csrftoken"}
    assert answer.status_code == 200
