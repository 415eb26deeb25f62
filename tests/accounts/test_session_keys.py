"""Session keys at rest: what the database holds opens no session, and an upgrade ends none."""

import re
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.sessions.backends import db as previous
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection as database
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import LoginSession, User
from accounts.sessions import SessionStore, digest
from tests.support.login import log_in
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Elsewhere

pytestmark = pytest.mark.django_db

PAGE = "/connection/"
COOKIE = settings.SESSION_COOKIE_NAME


@pytest.fixture
def user() -> User:
    return User.objects.create(username="ada")


@pytest.fixture
def browser(user: User) -> Client:
    """A browser in which a user is logged in."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def old_browser(user: User) -> Client:
    """A browser in which a user logged in at the previous version."""
    client = Client()
    client.force_login(user)
    data = SessionStore(key_of(client)).load()
    Session.objects.all().delete()
    row = previous.SessionStore()
    row.update(data)
    row.save()
    client.cookies[COOKIE] = row.session_key or ""
    return client


@pytest.fixture
def long_after_the_upgrade() -> Iterator[None]:
    applied = MigrationRecorder.Migration.objects.filter(app="accounts")
    applied.update(applied=Now() - timedelta(days=2))
    yield
    applied.update(applied=Now())


def key_of(browser: Client) -> str:
    return browser.cookies[COOKIE].value


def stored_keys() -> list[str]:
    return list(Session.objects.values_list("session_key", flat=True))


def is_logged_in(key: str) -> bool:
    browser = Client()
    browser.cookies[COOKIE] = key
    return browser.get(PAGE).status_code == 200


def test_what_the_database_holds_is_no_cookie(spotify: Sandbox) -> None:
    browser = Client()
    log_in(browser, spotify)

    (stored,) = stored_keys()

    assert is_logged_in(key_of(browser))
    assert not is_logged_in(stored)
    asked = Client()
    asked.cookies[COOKIE] = stored
    assert asked.post(reverse("browser_token")).status_code in {401, 403}


def test_no_row_of_any_table_holds_a_key(spotify: Sandbox) -> None:
    browser = Client()
    log_in(browser, spotify)
    browser.get(PAGE)

    with database.cursor() as cursor:
        tables = database.introspection.table_names(cursor)
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')  # noqa: S608
            assert key_of(browser) not in "".join(row for (row,) in cursor.fetchall()), table
    assert "django_session" in tables


def test_a_session_of_the_previous_version_goes_on(old_browser: Client) -> None:
    assert stored_keys() == [key_of(old_browser)]

    assert old_browser.get(PAGE).status_code == 200
    call_command("clearsessions")

    # It may still run beside this one.
    assert stored_keys() == [key_of(old_browser)]
    assert old_browser.get(PAGE).status_code == 200


@pytest.mark.usefixtures("long_after_the_upgrade")
def test_a_day_after_the_upgrade_no_key_is_left(old_browser: Client) -> None:
    old_browser.get(PAGE)  # somebody is noted under the key itself

    call_command("clearsessions")

    assert stored_keys() == [digest(key_of(old_browser))]
    assert old_browser.get(PAGE).status_code == 200
    assert LoginSession.objects.get().session_id == digest(key_of(old_browser))
    assert not is_logged_in(stored_keys()[0])


@pytest.mark.usefixtures("long_after_the_upgrade")
def test_keys_are_put_under_their_digest_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number:032}" for number in range(7)]
    for key in keys:
        Session.objects.create(session_key=key, expire_date=Now() + timedelta(days=1))
    monkeypatch.setattr("accounts.sessions.AT_ONCE", 3)

    call_command("clearsessions")

    assert sorted(stored_keys()) == sorted(map(digest, keys))


def test_a_session_that_is_stored_again_is_put_under_its_digest(old_browser: Client) -> None:
    session = SessionStore(key_of(old_browser))
    session["more"] = 1
    session.save()

    assert stored_keys() == [digest(key_of(old_browser))]
    assert old_browser.get(PAGE).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_request_that_meets_the_change_is_not_lost(
    old_browser: Client, elsewhere: Elsewhere
) -> None:
    key = key_of(old_browser)
    loaded = SessionStore(key)
    loaded["more"] = 1  # it has read the row under the key itself
    Session.objects.update(session_key=digest(key))

    loaded.save()
    loaded.ends_at = Session.objects.get().expire_date - timedelta(days=3)

    assert loaded.prolong()
    assert SessionStore(key)["more"] == 1

    # And several at once: one row is left, and all of them know it.
    Session.objects.update(session_key=key)
    barrier = threading.Barrier(8)

    def store(number: int) -> None:
        session = SessionStore(key)
        session["number"] = number
        barrier.wait(10)
        session.save()

    for done in [elsewhere(store, number) for number in range(8)]:
        done.result(30)
    assert stored_keys() == [digest(key)]


def test_logging_out_ends_a_session_of_either_form(browser: Client, old_browser: Client) -> None:
    keys = [key_of(old_browser)]
    old_browser.post(reverse("accounts:logout"))
    client = Client()
    client.force_login(User.objects.get())
    keys.append(key_of(client))
    client.post(reverse("accounts:logout"))

    assert [is_logged_in(key) for key in keys] == [False, False]
    assert stored_keys() == []


@pytest.mark.parametrize("key", ["", "x", "a" * 40, "a" * 5000, "0" * 32, "é" * 20])
def test_a_made_up_key_is_nobody(browser: Client, key: str) -> None:
    assert not is_logged_in(key)


def test_a_digest_has_the_form_of_djangos_column(browser: Client) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", stored_keys()[0])


@pytest.mark.django_db(transaction=True)
def test_asynchronous_code_stores_no_key_either(elsewhere: Elsewhere) -> None:
    # In a thread of its own: Playwright's event loop may run in this one.
    elsewhere(_use_asynchronously).result()


def _use_asynchronously() -> None:
    session = SessionStore()

    async def use() -> None:
        await session.aset("more", 1)
        await session.asave()

    async_to_sync(use)()

    key = session.session_key or ""
    assert stored_keys() == [digest(key)]
    assert async_to_sync(SessionStore(key).aload)() == {"more": 1}
    assert async_to_sync(SessionStore().aexists)(key)
    async_to_sync(session.adelete)()
    assert stored_keys() == []
