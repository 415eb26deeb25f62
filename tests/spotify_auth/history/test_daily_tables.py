"""docs/how-to/partition-history.md: a table for each day, there and back."""

# ruff: noqa: S608  (constants of the app)

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth import housekeeping
from spotify_auth.figures import roll_up
from spotify_auth.history import daily_tables, folding
from spotify_auth.history.tables import ROUTINE
from spotify_auth.models import HistoryMark, Outcome, TokenEvent
from tests.spotify_auth.figures.conftest import total
from tests.spotify_auth.history.conftest import Routine, fetch
from tests.support.lanes import refresh_next
from tests.support.tokens import Connect, make_due

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def daily(settings: Settings) -> None:
    """The switch is on, and what it made is dropped in the end."""
    settings.ROUTINE_EVENT_DAILY_TABLES = True


@pytest.fixture(autouse=True)
def no_tables_left(transactional_db: None) -> Iterator[None]:
    """As for the next test."""
    yield
    with database.cursor() as cursor:
        for table in daily_tables._tables_aside():
            cursor.execute(f"DROP TABLE {table}")


def put_aside(days: int) -> None:
    """Put the present table aside, as if that had been so many days ago."""
    known = daily_tables._tables_aside()
    daily_tables.turn()
    (name,) = set(daily_tables._tables_aside()) - set(known)
    ((day,),) = fetch(f"SELECT to_char(now() - interval '{days} days', 'YYYYMMDD')")
    with database.cursor() as cursor:
        for kind, end in (("TABLE", ""), ("INDEX", "_of_user"), ("INDEX", "_pkey")):
            cursor.execute(f"ALTER {kind} {name}{end} RENAME TO {ROUTINE}_{day}{end}")


def test_a_day_is_put_aside_and_lanes_go_on(user: User, routine: Routine, connect: Connect) -> None:
    routine(2, DAY)
    routine(3, timedelta())
    options = fetch(f"SELECT reloptions FROM pg_class WHERE oid = '{ROUTINE}'::regclass")

    daily_tables.turn()
    daily_tables.turn()  # once a day
    routine(4, timedelta(hours=7))  # old enough to be folded, by age
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED

    (aside,) = daily_tables._tables_aside()
    ((yesterday,),) = fetch("SELECT to_char(now() - interval '1 day', 'YYYYMMDD')")
    assert aside == f"{ROUTINE}_{yesterday}"
    assert {e.generation_after for e in user.spotify_auth_events.all()} == {2, 3, 4}
    assert fetch(f"SELECT count(*) FROM ONLY {ROUTINE}") == [(2,)]
    assert fetch(f"SELECT reloptions FROM pg_class WHERE oid = '{ROUTINE}'::regclass") == options
    roll_up.roll_up()
    assert total() == 4
    assert folding.fold() == 0
    user.delete()
    assert not TokenEvent.objects.exists()


def test_old_days_are_dropped_and_evidence_stays(
    user: User, routine: Routine, settings: Settings
) -> None:
    TokenEvent.objects.create(user=user, at=Now() - 300 * DAY, cause="login", outcome="connected")
    for days in (10, 8):
        routine(2, days * DAY)
        put_aside(days)
    assert len(daily_tables._tables_aside()) == 2  # not counted yet
    settings.ROUTINE_EVENT_RETENTION_DAYS = 999_999_999  # for ever
    daily_tables.turn()
    settings.ROUTINE_EVENT_RETENTION_DAYS = 7

    assert housekeeping.delete_expired()
    daily_tables.turn()

    assert len(daily_tables._tables_aside()) == 1
    assert sorted(user.spotify_auth_events.values_list("outcome", flat=True)) == [
        "connected",
        "refreshed",
    ]
    assert total() == 2


def test_what_was_put_aside_late_is_kept_for_its_time(user: User, routine: Routine) -> None:
    """The owner had to be asked for first, or the switch was made after days without workers."""
    routine(2, 20 * DAY)
    routine(3, DAY)
    roll_up.roll_up()

    daily_tables.turn()
    daily_tables.turn()

    assert [e.generation_after for e in user.spotify_auth_events.all()] == [3, 2]


def test_a_clock_that_was_set_back_over_midnight_stops_nothing(
    user: User, routine: Routine
) -> None:
    routine(2, 20 * DAY)
    put_aside(20)
    routine(3, DAY)
    daily_tables.turn()
    routine(4, DAY)
    roll_up.roll_up()

    daily_tables.turn()

    assert [e.generation_after for e in user.spotify_auth_events.all()] == [4, 3]
    assert fetch(f"SELECT generation_after FROM ONLY {ROUTINE}") == [(4,)]  # until tomorrow


def test_the_way_back(user: User, routine: Routine, settings: Settings) -> None:
    routine(2, 10 * DAY)
    put_aside(10)
    routine(3, timedelta(hours=7))
    roll_up.roll_up()
    settings.ROUTINE_EVENT_DAILY_TABLES = False

    daily_tables.turn()

    assert not daily_tables._tables_aside()
    assert folding.fold() == 1
    assert [e.generation_after for e in user.spotify_auth_events.all()] == [3]
    HistoryMark.objects.all().delete()


def test_whoever_does_not_own_the_table_is_told(
    user: User, routine: Routine, caplog: pytest.LogCaptureFixture
) -> None:
    routine(2, DAY)
    role = f"guest_of_{database.settings_dict['NAME']}"
    with database.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            cursor.execute(f"SET ROLE {role}")
            with caplog.at_level(logging.ERROR):
                daily_tables.turn()
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP OWNED BY {role}")
            cursor.execute(f"DROP ROLE {role}")

    assert "daily_tables_refused table=spotify_auth_routineevent needs=owner" in caplog.text
    assert not daily_tables._tables_aside()
