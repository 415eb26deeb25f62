"""The lists over many rows: how many queries, and that none of them reads a whole table."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from accounts.models import User
from spotify_auth.admin_pages import filters, lists
from spotify_auth.history.tables import EVENTS as EVENTS_TABLE
from spotify_auth.history.tables import ROUTINE
from tests.support.admin import enter_admin

TOKENS = "/admin/spotify_auth/spotifytoken/"
EVENTS = "/admin/spotify_auth/tokenevent/"
ROWS = 50_000
FIRST = 1_000_000
"""Their primary keys begin here."""
BIG = {"spotify_auth_spotifytoken", EVENTS_TABLE, ROUTINE, "accounts_user"}

# 50,000 users with two events each: every 300th is in some kind of trouble, and the six months
# of nobody end soon.
_FILL = """
INSERT INTO accounts_user (id, password, is_superuser, first_name, last_name, email, is_staff,
    is_active, date_joined, username, account_id, display_name, seen_at)
SELECT {first} + n, '', false, '', '', 'listener' || n || '@example.com', false, true, now(), NULL,
    'scale-' || n, 'Listener ' || n, now()
FROM generate_series(1, {rows}) AS n;
INSERT INTO spotify_auth_spotifytoken (user_id, account_id, status, access_token, refresh_token,
    scope, generation, authorized_at, reauthorize_by, refreshed_at, expires_at, due_at, due_cause,
    asked_by, failures, suspected_at, last_error, appeals)
SELECT {first} + n, 'scale-' || n, CASE WHEN n % 300 = 1 THEN 'revoked' ELSE 'active' END,
    CASE WHEN n % 300 <> 1 THEN '\\x0100000000'::bytea || convert_to(repeat('x', 250), 'UTF8') END,
    CASE WHEN n % 300 <> 1 THEN '\\x0100000000'::bytea || convert_to(repeat('x', 150), 'UTF8') END,
    'user-top-read', 2, now(), now() + interval '5 months' + n * interval '1 second',
    now() - interval '30 minutes',
    now() + CASE WHEN n % 300 IN (2, 4) THEN interval '-1 minute' ELSE interval '30 minutes' END,
    now() + CASE WHEN n % 300 IN (2, 3) THEN interval '-5 minutes' ELSE interval '15 minutes' END,
    'schedule', '', CASE WHEN n % 300 IN (4, 5) THEN 3 ELSE 0 END,
    CASE WHEN n % 300 = 5 THEN now() END, CASE WHEN n % 300 IN (4, 5) THEN 'http_503' ELSE '' END, 0
FROM generate_series(1, {rows}) AS n;
INSERT INTO spotify_auth_tokenevent (user_id, at, cause, outcome, rotated, worker, error)
VALUES ({first} + 2, now() - (2 * {rows} - 1) * interval '0.87 second', 'admin', 'revoked', false,
    'w:1', '');
INSERT INTO spotify_auth_routineevent (user_id, at, rotated)
SELECT {first} + n % {rows} + 1, now() - (2 * {rows} - n) * interval '0.87 second', true
FROM generate_series(2, 2 * {rows}) AS n;
ANALYZE accounts_user; ANALYZE spotify_auth_spotifytoken; ANALYZE spotify_auth_tokenevent;
ANALYZE spotify_auth_routineevent;
"""


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The rows, taken out again by the module's end: nothing is committed for longer."""
    with django_db_blocker.unblock(), database.cursor() as cursor:
        cursor.execute(_FILL.format(first=FIRST, rows=ROWS))
        yield
        tables = "spotify_auth_tokenevent, spotify_auth_spotifytoken, accounts_user"
        cursor.execute(f"TRUNCATE {tables} CASCADE")


@pytest.fixture
def admin(many: None, db: None, client: Client) -> Client:
    enter_admin(client, User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def scanned(plan: dict[str, Any]) -> Iterator[float]:
    """How many rows a plan reads of each big table."""
    if plan.get("Relation Name") in BIG:
        rows: float = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield rows * plan["Actual Loops"]
    for child in plan.get("Plans", []):
        yield from scanned(child)


def most_read(queries: CaptureQueriesContext) -> tuple[float, str]:
    """The most rows of a big table that one query reads, and that query."""
    most: tuple[float, str] = (0, "")
    for query in queries:
        sql = query["sql"]
        if not re.match(r"\(?SELECT", sql):
            continue
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
            ((found,),) = cursor.fetchall()
        plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
        most = max(most, (max(scanned(plan), default=0), sql))
    return most


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (TOKENS, 100),
        (f"{TOKENS}?p=99", 100),
        (f"{TOKENS}?status__exact=revoked", 100),
        (f"{TOKENS}?status__exact=disconnected", 0),
        (f"{TOKENS}?needs=lost", 100),
        (f"{TOKENS}?needs=expiring", 100),
        (f"{TOKENS}?needs=overdue", 100),
        (f"{TOKENS}?needs=failing", 100),
        (f"{TOKENS}?needs=suspected", 100),
        (f"{TOKENS}?needs=reconnect_soon", 0),
        (f"{TOKENS}?last_error=http_503", 100),
        (f"{TOKENS}?q=Listener+4711", 11),
        (f"{TOKENS}?q=LISTENER4711@example.com", 1),
        (f"{TOKENS}?q=scale-4711", 1),
        (f"{TOKENS}?q=1004711", 1),
        (f"{TOKENS}?q=nobody", 0),
        (EVENTS, 100),
        (f"{EVENTS}?before=6h", 100),
        (f"{EVENTS}?q=scale-4711", 2),
        (f"{EVENTS}?user=1004711", 2),
    ],
)
def test_a_list_reads_about_what_it_shows(
    admin: Client, path: str, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "EVENTS_LOOKED_AT", 10_000)
    with CaptureQueriesContext(database) as queries:
        page = admin.get(path)

    assert len(page.context["cl"].result_list) == shown
    assert len(queries) <= 18
    # The pages of a list are counted to 10,000, and a page far back skips those before it.
    rows, sql = most_read(queries)
    assert rows <= lists.MOST_COUNTED, sql


def test_an_outcome_that_is_rare_is_looked_for_in_one_window(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "EVENTS_LOOKED_AT", 3000)
    oldest = f"{EVENTS}?outcome__exact=revoked"

    with CaptureQueriesContext(database) as queries:
        page = admin.get(oldest)

    assert not page.context["cl"].result_list  # it is 100,000 events back
    assert most_read(queries)[0] <= 3000
    assert len(admin.get(f"{oldest}&before=1d").context["cl"].result_list) == 1


def test_the_last_outcomes_of_a_page_are_one_query(admin: Client) -> None:
    with CaptureQueriesContext(database) as queries:
        page = admin.get(TOKENS)

    assert all(token.last_event for token in page.context["cl"].result_list)
    assert sum("spotify_auth_tokenevent" in query["sql"] for query in queries) == 1


def test_only_the_filter_that_says_so_reads_every_token(admin: Client) -> None:
    assert "reads every token" in admin.get(TOKENS).content.decode()
    page = admin.get(f"{TOKENS}?key=missing")
    assert len(page.context["cl"].result_list) == 100
