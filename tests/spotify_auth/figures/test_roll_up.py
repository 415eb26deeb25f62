"""Each event of the history is counted exactly once, whatever happens to whoever counts."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event

import pytest
from django.db import Error, transaction
from django.db import connection as database
from django.db.models.functions import Now

from accounts.models import User
from spotify_auth import chores
from spotify_auth.figures import counts, roll_up
from spotify_auth.figures.latency import BOUNDS_MS
from spotify_auth.figures.tables import EventCount, RolledUp
from spotify_auth.history.tables import ROUTINE
from spotify_auth.models import TokenEvent
from tests.spotify_auth.figures.conftest import Happen, sessions_waiting, total
from tests.support.processes import wait_for
from tests.support.tokens import Elsewhere

AT = datetime(2026, 11, 26, 13, 59, 59, 900_000, tzinfo=UTC)


@pytest.mark.django_db
def test_counts_by_minute_hour_and_ever(happen: Happen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_up, "MINUTES_KEPT", timedelta(days=36_500))
    happen(at=AT, rotated=True, duration_ms=50)
    happen(at=AT + timedelta(milliseconds=200), duration_ms=51)  # the next hour
    happen(at=AT, duration_ms=99_999)
    happen("retry", at=AT, duration_ms=12_000)
    happen("connected", at=AT, duration_ms=None)

    assert roll_up.roll_up()

    found = EventCount.objects.filter(outcome="refreshed").order_by("span", "begins_at")
    assert [(each.span, f"{each.begins_at:%d %R}", each.events) for each in found] == [
        ("ever", "01 00:00", 3),
        ("hour", "26 13:00", 2),
        ("hour", "26 14:00", 1),
        ("minute", "26 13:59", 2),
        ("minute", "26 14:00", 1),
    ]
    refreshed = counts.totals()["refreshed"]
    assert (refreshed.rotated, refreshed.exchanges, refreshed.seconds) == (1, 3, 100.1)
    assert list(refreshed.buckets) == [1, 1, *[0] * (len(BOUNDS_MS) - 2), 1]
    connected = counts.totals()["connected"]
    assert (connected.events, connected.exchanges, sum(connected.buckets)) == (1, 0, 0)


@pytest.mark.django_db
def test_only_what_asked_spotify_is_timed(happen: Happen) -> None:
    happen(cause="rescue", duration_ms=3)
    happen("retry", error="undecryptable", duration_ms=1)

    roll_up.roll_up()

    assert {name: found.exchanges for name, found in counts.totals().items()} == {
        "refreshed": 0,
        "retry": 0,
    }


@pytest.mark.django_db
def test_counters_never_fall(happen: Happen) -> None:
    for _ in range(3):
        happen()
    roll_up.roll_up()
    roll_up.roll_up()
    assert total() == 3

    TokenEvent.objects.all().delete()  # house-keeping, after months
    roll_up.roll_up()
    happen()
    roll_up.roll_up()

    assert total() == 4


@pytest.mark.django_db
def test_minutes_that_are_too_old_are_not_even_made(happen: Happen) -> None:
    happen(at=Now() - roll_up.MINUTES_KEPT - timedelta(hours=1))

    roll_up.roll_up()

    assert sorted(EventCount.objects.values_list("span", flat=True)) == ["ever", "hour"]


@pytest.mark.django_db
def test_stops_between_two_steps(happen: Happen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_up, "STEP", 1)
    monkeypatch.setattr(chores, "stopping", _SetAfterTwo())
    for _ in range(3):
        happen()

    assert not roll_up.roll_up()
    assert total() == 2


class _SetAfterTwo(Event):
    asked = 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("routine", [False, True])
def test_an_event_that_commits_late_is_counted(
    user: User,
    happen: Happen,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
    routine: bool,
) -> None:
    """Its id is lower than one that is seen already."""
    inserted, may_commit = Event(), Event()

    def commit_late() -> None:
        with transaction.atomic():
            if routine:
                with database.cursor() as cursor:
                    cursor.execute(
                        f"INSERT INTO {ROUTINE} (user_id, rotated) VALUES (%s, true)",  # noqa: S608
                        [user.pk],
                    )
            else:
                happen()
            inserted.set()
            assert may_commit.wait(20)

    late = elsewhere(commit_late)
    assert inserted.wait(20)
    happen()

    monkeypatch.setattr(roll_up, "WAIT_SECONDS", 0.05)
    assert not roll_up.roll_up()
    assert total() == 0
    monkeypatch.setattr(roll_up, "WAIT_SECONDS", 20)
    counted = elsewhere(roll_up.roll_up)
    may_commit.set()
    late.result(20)

    assert counted.result(20)
    assert total() == 2
    assert RolledUp.objects.get().event_id == 2**63 - 1  # the previous version counts none of them


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_has_counted_nothing(
    happen: Happen, elsewhere: Elsewhere
) -> None:
    happen()
    roll_up.roll_up()
    happen()
    happen("retry")
    with transaction.atomic():
        EventCount.objects.select_for_update().get(span="ever", outcome="refreshed")
        counting = elsewhere(roll_up.roll_up)
        wait_for(sessions_waiting, what="the count to wait")
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [sessions_waiting()]
            )
        with pytest.raises(Error):
            counting.result(20)
    assert (total(), total("retry")) == (1, 0)

    assert roll_up.roll_up()

    assert (total(), total("retry")) == (2, 1)


@pytest.mark.django_db(transaction=True)
def test_workers_that_count_at_the_same_time_count_each_event_once(
    happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll_up, "STEP", 3)
    for _ in range(60):
        happen()
    together = Barrier(4)

    def work(_: int) -> None:
        try:
            together.wait(20)
            roll_up.roll_up()
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert roll_up.roll_up()

    assert total() == 60
