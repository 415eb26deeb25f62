"""Exactly what is too old is deleted, in steps that never look at one place twice."""

# ruff: noqa: S608  (constants of the app)

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from spotify_auth import housekeeping
from spotify_auth.figures import roll_up
from spotify_auth.history import folding, pruning
from spotify_auth.history.tables import EVENTS, FOLDED
from spotify_auth.models import Cause, HistoryMark, Outcome, TokenEvent
from tests.spotify_auth.history.conftest import fetch, plan_of

pytestmark = pytest.mark.django_db

EVIDENCE = [
    (Cause.LOGIN, Outcome.CONNECTED, False),
    (Cause.SCHEDULE, Outcome.RETRY, False),
    (Cause.SCHEDULE, Outcome.SUSPECTED, False),
    (Cause.SCHEDULE, Outcome.RECONNECT_REQUIRED, False),
    (Cause.SCHEDULE, Outcome.REFRESHED, True),  # what ended a trouble
    (Cause.RESCUE, Outcome.REFRESHED, False),
    (Cause.APPEAL, Outcome.REFRESHED, False),
    (Cause.STALE_READ, Outcome.REFRESHED, False),
    (Cause.UNAUTHORIZED, Outcome.REFRESHED, False),
    (Cause.ADMIN, Outcome.REFRESHED, False),
    (Cause.ADMIN, Outcome.PAUSED, False),
    (Cause.DISCONNECT, Outcome.DISCONNECTED, False),
]


def write(user: User, days: float, cause: str, outcome: str, ended_trouble: bool = False) -> None:
    """One event, so many days ago."""
    TokenEvent.objects.create(
        user=user,
        at=Now() - timedelta(days=days),
        cause=cause,
        outcome=outcome,
        ended_trouble=ended_trouble,
    )


def test_each_kind_is_kept_for_its_time(user: User) -> None:
    for days in (400.1, 399.9, 7.1, 6.9):
        for kind in EVIDENCE:
            write(user, days, *kind)
        write(user, days, Cause.SCHEDULE, Outcome.REFRESHED)

    assert housekeeping.delete_expired()

    assert TokenEvent.objects.count() == 3 * len(EVIDENCE) + 1
    left = fetch(
        f"SELECT cause, outcome, ended_trouble FROM {EVENTS} "
        "WHERE at < now() - interval '399 days' ORDER BY id"
    )
    assert left == [(cause.value, outcome.value, ended) for cause, outcome, ended in EVIDENCE]


def test_for_ever_is_written_as_any_number(user: User, settings: Settings) -> None:
    settings.TOKEN_EVENT_RETENTION_DAYS = settings.ROUTINE_EVENT_RETENTION_DAYS = 999_999_999
    write(user, 3000, *EVIDENCE[0])

    assert housekeeping.delete_expired()

    assert pruning.count_old() == 0
    assert TokenEvent.objects.count() == 1


def test_what_is_not_counted_is_not_deleted(user: User) -> None:
    for _ in range(2):
        write(user, 401, Cause.LOGIN, Outcome.CONNECTED)
    roll_up.roll_up()
    write(user, 401, Cause.LOGIN, Outcome.CONNECTED)

    assert pruning.prune_some(pruning.PARTS[0]) == (2, False)


def test_an_event_whose_clock_was_ahead_keeps_nothing_from_being_deleted(user: User) -> None:
    for days in (402, -30, 401, 1):
        write(user, days, Cause.LOGIN, Outcome.CONNECTED)

    housekeeping.delete_expired()

    assert TokenEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("days", "left"),
    [
        ((-500, -500, -500, -500, -499), 5),  # the clock has been set back, just now
        ((-500, -500, -500, -500, 0), 5),  # and time goes on from there
        ((-30, -30, -30, -30, 1), 5),  # it was ahead, when is not known yet
        ((-30, -30, -30, -30, 401, 1), 1),
        ((402, -30, -30, -30, -30, 401, 1), 1),
        ((402, -30, -30, 1, 401), 4),
    ],
)
def test_what_lies_ahead_is_as_old_as_what_follows(
    user: User, days: tuple[int, ...], left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP", 2)
    for each in days:
        write(user, each, Cause.LOGIN, Outcome.CONNECTED)

    housekeeping.delete_expired()

    assert TokenEvent.objects.count() == left


def test_a_step_reads_only_what_it_looks_at(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a table, nor the entries of those that earlier steps have deleted."""
    fill = (
        "INSERT INTO {table} (user_id, at, cause, outcome, rotated, worker, error{more}) "
        "SELECT %s, now() - interval '500 days', 'schedule', 'refreshed', false, '', ''{values} "
        "FROM generate_series(1, 20000) AS n"
    )
    with database.cursor() as cursor:
        cursor.execute(fill.format(table=EVENTS, more="", values=""), [user.pk])
        cursor.execute(
            fill.format(
                table=FOLDED, more=", id, began_at, refreshes", values=", n, now(), '{0, 1}'"
            ),
            [user.pk],
        )
        cursor.execute(f"ANALYZE {EVENTS}")
        cursor.execute(f"ANALYZE {FOLDED}")
    roll_up.roll_up()
    monkeypatch.setattr(pruning, "STEP", 500)
    for part in pruning.PARTS[1:]:
        for _ in range(10):  # dead from here on: the test is one transaction, nothing vacuums
            assert pruning.prune_some(part) == (500, True)
        with CaptureQueriesContext(database) as queries:
            pruning.prune_some(part)
        for query in queries.captured_queries:
            if part.table in query["sql"]:
                plan = plan_of(query["sql"])
                assert f"Seq Scan on {part.table}" not in plan
                assert _pages(plan) < 100  # 500 events are 9 pages, the dead ones before them 90
    assert HistoryMark.objects.get().routine_to


def _pages(plan: str) -> int:
    """Pages of the whole plan: its first line of buffers."""
    line = next(line for line in plan.splitlines() if "Buffers: shared" in line)
    counted = [word.split("=")[1] for word in line.split() if word.startswith(("hit=", "read="))]
    return sum(map(int, counted))


def test_what_is_folded_late_is_deleted_too(user: User) -> None:
    """After days without workers: its id lies before the mark."""
    HistoryMark.objects.update_or_create(defaults={"folded_to": 10**9})
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO spotify_auth_routineevent (user_id, at, generation_before, "
            "generation_after, rotated, lifetime_granted, lifetime_used, duration_ms) "
            "VALUES (%s, now() - interval '8 days', 1, 2, true, 3600, 1, 1)",
            [user.pk],
        )
    roll_up.roll_up()
    folding.fold_some()
    assert fetch(f"SELECT count(*) FROM {FOLDED}") == [(1,)]

    housekeeping.delete_expired()

    assert not TokenEvent.objects.exists()
