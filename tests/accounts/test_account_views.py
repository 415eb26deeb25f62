"""Where a user is logged in: the list, logging out of one browser, and of all of them."""

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import sessions
from accounts.models import LoginSession, User
from tests.support.admin import enter_admin
from tests.support.database_faults import locked_elsewhere
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

PAGE = "/account/sessions/"
EVERYWHERE = "/account/sessions/end/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Safari/604.1"


@pytest.fixture
def user() -> User:
    return User.objects.create(account_id="ada", display_name="Ada", password="!none")


def browser_of(user: User, user_agent: str = FIREFOX, **options: Any) -> Client:
    """A browser in which a user is logged in and has seen a page."""
    browser = Client(headers={"user-agent": user_agent}, **options)
    browser.force_login(user)
    assert browser.get(PAGE).status_code == 200
    return browser


def is_logged_in(browser: Client) -> bool:
    return browser.get(PAGE).status_code == 200


def end_addresses(browser: Client) -> list[str]:
    """The addresses of the forms that log out of one browser, as the page lists them."""
    page = browser.get(PAGE).content.decode()
    return re.findall(r'action="(/account/sessions/\d+/end/)"', page)


def test_lists_each_browser_and_marks_this_one(user: User) -> None:
    phone, computer = browser_of(user, IPHONE), browser_of(user, FIREFOX)
    browser_of(User.objects.create(username="eve"), "curl/8")

    page = computer.get(PAGE).content.decode()

    lines = re.findall(r"<li>(.*?)</li>", page, re.DOTALL)
    assert len(lines) == 2
    assert "Firefox on Linux" in lines[0]
    assert "This browser" in lines[0]
    assert "Safari on iPhone" in lines[1]
    assert "This browser" not in lines[1]
    assert is_logged_in(phone)


def test_the_page_holds_nothing_that_opens_a_session(user: User) -> None:
    browser = browser_of(user)

    page = browser.get(PAGE).content.decode()

    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert key not in page
    assert sessions.digest(key) not in page


def test_logs_out_of_another_browser(user: User) -> None:
    phone, computer = browser_of(user, IPHONE), browser_of(user)

    answer = computer.post(end_addresses(computer)[1])

    assert answer["Location"] == PAGE
    assert not is_logged_in(phone)
    assert is_logged_in(computer)
    assert Session.objects.count() == 1


def test_logging_out_of_this_browser_leads_home(user: User) -> None:
    browser = browser_of(user)

    answer = browser.post(end_addresses(browser)[0])

    assert answer["Location"] == reverse("accounts:home")
    assert not is_logged_in(browser)


def test_another_users_session_cannot_be_ended(user: User) -> None:
    eve = browser_of(User.objects.create(username="eve"))
    ada = browser_of(user)

    eve.post(end_addresses(ada)[0])

    assert is_logged_in(ada)
    assert is_logged_in(eve)


def test_logs_out_everywhere(user: User) -> None:
    browsers = [browser_of(user, IPHONE), browser_of(user)]
    eve = browser_of(User.objects.create(username="eve"))

    answer = browsers[1].post(EVERYWHERE)

    assert answer["Location"] == reverse("accounts:home")
    assert [is_logged_in(browser) for browser in browsers] == [False, False]
    assert is_logged_in(eve)


def test_who_was_logged_out_everywhere_can_log_in_again(user: User) -> None:
    browser_of(user).post(EVERYWHERE)
    user.refresh_from_db()

    assert is_logged_in(browser_of(user))
    # A page of it that is open elsewhere, too: the second time.
    browser_of(user).post(EVERYWHERE)
    user.refresh_from_db()
    assert is_logged_in(browser_of(user))


def test_a_session_that_nobody_noted_ends_too(user: User) -> None:
    browser = browser_of(user)
    LoginSession.objects.all().delete()
    assert Session.objects.exists()

    sessions.end_all(user)

    assert browser.get("/connection/").status_code == 302


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", [PAGE, EVERYWHERE, "/account/sessions/1/end/"])
def test_only_users_get_in_and_only_a_post_changes(user: User, path: str, method: str) -> None:
    stranger = Client()
    getattr(stranger, method)(path)
    browser = browser_of(user)

    answer = browser.get(path)

    assert answer.status_code == (200 if path == PAGE else 405)
    assert is_logged_in(browser)


@pytest.mark.parametrize("path", [EVERYWHERE, "/account/sessions/1/end/"])
def test_a_form_of_another_site_changes_nothing(user: User, path: str) -> None:
    browser = browser_of(user, enforce_csrf_checks=True)

    assert browser.post(path).status_code == 403
    assert is_logged_in(browser)


def test_the_list_has_an_end(user: User) -> None:
    here = browser_of(user)
    for number in range(30):
        Session.objects.create(session_key=f"{number:040}", expire_date=Now() + timedelta(days=1))
        LoginSession.objects.create(session_id=f"{number:040}", user=user)

    with CaptureQueriesContext(database) as queries:
        page = here.get(PAGE).content.decode()

    # Now: the next request empties the list of queries.
    assert len(queries) < 8
    listing = [q["sql"] for q in queries.captured_queries if "ORDER BY" in q["sql"]]
    assert any("LIMIT 21" in sql for sql in listing)
    assert len(end_addresses(here)) == 20
    assert "This browser" in page
    assert "There are more" in page


def test_expired_sessions_are_not_listed_and_go_with_clearsessions(user: User) -> None:
    browser_of(user, IPHONE)
    Session.objects.update(expire_date=Now() - timedelta(minutes=1))
    here = browser_of(user)

    assert len(end_addresses(here)) == 1
    call_command("clearsessions")
    assert LoginSession.objects.count() == Session.objects.count() == 1


def test_a_visit_is_noted_once_an_hour(user: User) -> None:
    browser = browser_of(user, IPHONE)
    LoginSession.objects.update(seen_at=F("seen_at") - timedelta(minutes=59))
    before = LoginSession.objects.get().seen_at

    browser.get(PAGE)
    assert LoginSession.objects.get().seen_at == before
    LoginSession.objects.update(seen_at=F("seen_at") - timedelta(minutes=2))
    browser.get(PAGE, headers={"user-agent": FIREFOX})

    noted = LoginSession.objects.get()
    assert noted.seen_at > before
    assert noted.user_agent == FIREFOX


@pytest.mark.parametrize("user_agent", ["x" * 5000, "\0\ud83d", "é" * 300])
def test_any_user_agent_can_be_noted(user: User, user_agent: str) -> None:
    browser = Client()
    browser.force_login(user)

    assert browser.get(PAGE, HTTP_USER_AGENT=user_agent).status_code == 200
    assert len(LoginSession.objects.get().user_agent) <= 255


@pytest.mark.django_db(transaction=True)
def test_a_database_that_takes_no_notes_costs_a_line(caplog: pytest.LogCaptureFixture) -> None:
    user = User.objects.create(username="ada")
    browser = Client()
    browser.force_login(user)
    with database.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    try:
        with locked_elsewhere("SELECT FROM django_session FOR UPDATE"):
            # The same handler, as in a process: its middleware remembers the failure.
            answers = [browser.get(PAGE).status_code for _ in range(3)]
    finally:
        database.close()

    assert answers == [200, 200, 200]
    assert caplog.text.count("session_not_noted") == 1


@pytest.mark.django_db(transaction=True)
def test_a_session_that_was_just_ended_does_not_come_back_by_a_note(user: User) -> None:
    browser = Client()
    browser.force_login(user)
    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    session = sessions.SessionStore(key)
    session.load()
    Session.objects.all().delete()

    session.note(user_id=user.pk, user_agent=FIREFOX)

    assert not LoginSession.objects.exists()


def test_a_revocation_ends_the_sessions_of_its_user(connect: Connect) -> None:
    user, other, third = connect("user-1"), connect("user-2"), connect("user-3")
    theirs, others, thirds = browser_of(user), browser_of(other), browser_of(third)
    admin = User.objects.create(username="admin", is_staff=True)
    names = ("view_spotifytoken", "revoke_spotifytoken")
    admin.user_permissions.set(Permission.objects.filter(codename__in=names))
    staff = browser_of(admin)
    enter_admin(staff, admin)

    form = {
        "action": "revoke",
        "_selected_action": [user.pk],
        "confirmed": "yes",
        "reason": "asked for by mail",
    }
    staff.post(reverse("admin:spotify_auth_spotifytoken_changelist"), form)
    command = ("tokens", "revoke", f"pk:{third.pk}", "--reason", "by mail", "--no-input")
    call_command(*command, stdout=StringIO())

    assert not is_logged_in(theirs)
    assert not is_logged_in(thirds)
    assert is_logged_in(others)
    assert is_logged_in(staff)


@pytest.mark.parametrize("by", ["the user", "an administrator", "an action of the admin"])
def test_deleting_an_account_leaves_no_session_row(user: User, by: str) -> None:
    here = browser_of(user)
    browser_of(user, IPHONE)
    if by == "the user":
        here.post(reverse("accounts:delete_account"))
    else:
        admin = Client()
        chief = User.objects.create(username="admin", is_staff=True, is_superuser=True)
        enter_admin(admin, chief)
        if by == "an administrator":
            admin.post(reverse("admin:accounts_user_delete", args=[user.pk]), {"post": "yes"})
        else:
            form = {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}
            admin.post(reverse("admin:accounts_user_changelist"), form)

    assert not User.objects.filter(pk=user.pk).exists()
    assert Session.objects.count() == (0 if by == "the user" else 1)
    assert LoginSession.objects.filter(user_id=user.pk).count() == 0


def test_the_users_own_disconnect_leaves_the_sessions(connect: Connect) -> None:
    user = connect()
    phone, here = browser_of(user, IPHONE), browser_of(user)

    here.post(reverse("spotify_auth:disconnect"))

    assert is_logged_in(phone)


@pytest.mark.django_db(transaction=True)
def test_postgresql_deletes_the_note_with_the_user_or_the_session(user: User) -> None:
    browser_of(user)
    browser_of(user)

    with database.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_session WHERE ctid = (SELECT min(ctid) FROM django_session)"
        )
        assert LoginSession.objects.count() == 1
        cursor.execute("DELETE FROM accounts_user")
    assert LoginSession.objects.count() == 0
