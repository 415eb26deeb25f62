"""Sessions: a visit a day keeps a user logged in, and nothing else does."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from spotify_auth.models import LastSeen, SpotifyToken
from tests.support.database_faults import locked_elsewhere
from tests.support.login import log_in
from tests.support.sandbox_client import Sandbox

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

pytestmark = pytest.mark.django_db

PAGE = "/connection/"
DAY = timedelta(days=1)
WHOLE = timedelta(seconds=django_settings.SESSION_COOKIE_AGE)


@pytest.fixture
def browser() -> Client:
    """A browser in which a user is logged in."""
    client = Client(headers={"host": "127.0.0.1:8000"})
    client.force_login(User.objects.create(username="ada"))
    return client


def a_day_passes() -> None:
    Session.objects.update(expire_date=F("expire_date") - DAY)
    LastSeen.objects.update(seen_at=F("seen_at") - DAY)
    User.objects.update(seen_at=F("seen_at") - DAY)
    ages = ("authorized_at", "reauthorize_by")
    SpotifyToken.objects.update(**{name: F(name) - DAY for name in ages})


def cookie_days(answer: "Response") -> int:
    """How long the browser keeps the session's cookie by this answer; 0 if it sets none."""
    cookie = answer.cookies.get(django_settings.SESSION_COOKIE_NAME)
    return int(cookie["max-age"]) // 86400 if cookie else 0


def prolonged() -> bool:
    return Session.objects.filter(expire_date__gt=Now() + WHOLE - DAY / 2).exists()


def test_a_daily_visitor_logs_in_every_six_months_only(spotify: Sandbox) -> None:
    browser = Client(headers={"host": "127.0.0.1:8000"})
    logins, keeps_cookie = [0], cookie_days(log_in(browser, spotify))

    for day in range(1, 201):
        a_day_passes()
        keeps_cookie -= 1
        answer = browser.get(PAGE)
        assert (answer.status_code, keeps_cookie > 0) == (200, True), day
        keeps_cookie = max(keeps_cookie, cookie_days(answer))
        if SpotifyToken.objects.filter(reauthorize_by__lt=Now()).exists():
            log_in(browser, spotify)
            logins.append(day)

    assert len(logins) == 2
    assert 180 <= logins[1] <= 185


def test_an_absent_user_is_logged_out(browser: Client) -> None:
    for _ in range(django_settings.SESSION_COOKIE_AGE // 86400 + 1):
        a_day_passes()

    assert browser.get(PAGE).status_code == 302


def test_other_visits_of_the_day_write_nothing(browser: Client) -> None:
    a_day_passes()
    assert cookie_days(browser.get(PAGE)) == 90

    with CaptureQueriesContext(database) as queries:
        assert cookie_days(browser.get(PAGE)) == 0

    assert not [q for q in queries.captured_queries if q["sql"].startswith('UPDATE "django_s')]


@pytest.mark.parametrize(
    "headers",
    [
        {"hx-request": "true"},  # a part of a page, for example one that polls
        {"sec-fetch-mode": "cors"},  # a script
    ],
)
def test_a_tab_that_polls_prolongs_nothing(browser: Client, headers: dict[str, str]) -> None:
    a_day_passes()

    assert cookie_days(browser.get(PAGE, headers=headers)) == 0
    assert not prolonged()
    assert cookie_days(browser.get(PAGE, headers={"sec-fetch-mode": "navigate"})) == 90
    assert prolonged()


def test_a_page_that_looks_at_no_user_prolongs_nothing(browser: Client) -> None:
    a_day_passes()

    assert cookie_days(browser.get("/favicon.ico")) == 0


def test_a_session_that_another_tab_has_replaced_does_not_come_back(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_day_passes()

    # The other tab logs in while this page is made.
    def replaced(*_: object) -> str:
        Session.objects.all().delete()
        return "<p>"

    monkeypatch.setattr("django.template.backends.django.Template.render", replaced)
    answer = browser.get(PAGE)

    assert cookie_days(answer) == 0
    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("refusal", ["read only", "lock timeout"])
def test_a_database_that_refuses_costs_a_line(
    browser: Client, caplog: pytest.LogCaptureFixture, refusal: str
) -> None:
    browser.get(PAGE)  # notes that the user was seen
    Session.objects.update(expire_date=F("expire_date") - DAY)
    with database.cursor() as cursor:
        if refusal == "read only":
            cursor.execute("SET default_transaction_read_only = on")
        cursor.execute("SET lock_timeout = '50ms'")
    try:
        with locked_elsewhere("SELECT FROM django_session FOR UPDATE"):
            answer = browser.get(PAGE)
    finally:
        database.close()

    assert (answer.status_code, cookie_days(answer)) == (200, 0)
    assert caplog.text.count("session_not_prolonged") == 1
    assert cookie_days(browser.get(PAGE)) == 90
    assert browser.post(reverse("accounts:logout")).status_code == 302


OLD, NEW = "the-earlier-secret-key-" * 3, "the-present-secret-key-" * 3


@pytest.mark.parametrize(("fallbacks", "status"), [([OLD], 200), ([], 302)])
def test_a_session_survives_a_new_secret_key_that_falls_back_on_the_old_one(
    settings: Settings, spotify: Sandbox, fallbacks: list[str], status: int
) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    browser = Client(headers={"host": "127.0.0.1:8000"})
    log_in(browser, spotify)

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, fallbacks

    assert browser.get(PAGE).status_code == status


def test_a_visit_brings_a_session_under_the_new_secret_key(
    settings: Settings, spotify: Sandbox
) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    browser = Client(headers={"host": "127.0.0.1:8000"})
    log_in(browser, spotify)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    browser.get(PAGE)

    settings.SECRET_KEY_FALLBACKS = []

    assert browser.get(PAGE).status_code == 200
