"""Routine events are folded once each, and can be told apart again."""

# ruff: noqa: S608  (constants of the app)

from datetime import timedelta

import pytest
from django.db import Error, transaction
from django.db import connection as database

from accounts.models import User
from spotify_auth.figures import roll_up
from spotify_auth.history import folding
from spotify_auth.history.tables import FOLDED, ROUTINE
from spotify_auth.history.unfolding import unfold
from spotify_auth.models import HistoryMark, RolledUp, TokenEvent
from tests.spotify_auth.figures.conftest import sessions_waiting, total
from tests.spotify_auth.history.conftest import Routine, fetch
from tests.support.processes import wait_for
from tests.support.tokens import Connect, Elsewhere

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def fold_all() -> int:
    """A whole round, however long ago the last one began."""
    roll_up.roll_up()
    HistoryMark.objects.update(round_at=None)
    folded, more = 0, True
    while more:
        some, more = folding.fold_some()
        folded += some
    return folded


def told_of(user: User) -> list[tuple[object, ...]]:
    """What a reader of the history learns of each refresh, but for what is a guess."""
    events = unfold(TokenEvent.objects.filter(user_id=user.pk))
    return [
        (e.generation_before, e.generation_after, e.at.replace(microsecond=0), e.duration_ms)
        for e in events
    ]


def test_a_day_is_a_row_and_every_refresh_can_be_told_again(user: User, routine: Routine) -> None:
    for generation, hours in ((5, 13), (6, 12), (7, 8), (8, 7), (9, 1)):
        routine(generation, hours * HOUR)
    before = told_of(user)

    assert fold_all() == 4

    assert fetch(f"SELECT count(*) FROM {FOLDED}") == [(1,)]
    assert fetch(f"SELECT generation_after FROM {ROUTINE}") == [(9,)]
    after = told_of(user)
    # A sum of milliseconds that were rounded each.
    assert [row[:2] + row[3:] for row in after] == [row[:2] + row[3:] for row in before]
    assert all(
        abs(new[2] - old[2]) <= timedelta(seconds=1)  # type: ignore[operator]
        for new, old in zip(after, before, strict=True)
    )
    assert [each.lifetime_used for each in unfold(TokenEvent.objects.filter(user=user))][1:4] == [
        3599,
        4 * 3600 - 1,
        3599,
    ]


def test_a_row_grows_until_it_has_a_day(user: User, routine: Routine) -> None:
    routine(5, 40 * HOUR)
    fold_all()
    routine(6, 30 * HOUR)
    fold_all()
    assert fetch(f"SELECT count(*) FROM {FOLDED}") == [(1,)]
    routine(7, 7 * HOUR)
    fold_all()

    assert fetch(f"SELECT generation_before, generation_after FROM {FOLDED} ORDER BY id") == [
        (4, 6),
        (6, 7),
    ]
    assert [row[1] for row in told_of(user)] == [7, 6, 5]


def test_refreshes_that_do_not_follow_one_another_are_rows_of_their_own(
    user: User, routine: Routine
) -> None:
    """One that somebody asked for lies in between; and one brought no new refresh token."""
    for generation, rotated in ((5, True), (7, True), (8, False), (9, True)):
        routine(generation, 10 * HOUR - generation * timedelta(minutes=5), rotated=rotated)

    fold_all()

    assert [row[1] for row in told_of(user)] == [9, 8, 7, 5]
    brought = fetch(f"SELECT rotated FROM {FOLDED} ORDER BY id")
    assert brought == [(True,), (True,), (False,), (True,)]


def test_only_what_is_counted_is_folded(user: User, routine: Routine) -> None:
    routine(5, 7 * HOUR)
    roll_up.roll_up()
    routine(6, 7 * HOUR)

    HistoryMark.objects.update(round_at=None)
    folding.fold_some()

    assert fetch(f"SELECT generation_after FROM {ROUTINE}") == [(6,)]
    fold_all()
    assert total() == 2


def test_nothing_is_folded_before_anything_is_counted(user: User, routine: Routine) -> None:
    RolledUp.objects.all().delete()
    routine(5, 7 * HOUR)

    assert folding.fold_some() == (0, False)


def test_a_round_takes_users_in_their_turn_and_goes_on_where_it_was(
    connect: Connect, routine: Routine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "STEP", 1)
    with database.cursor() as cursor:  # in the order of their text the first would be the last
        cursor.execute("SELECT setval(pg_get_serial_sequence('accounts_user', 'id'), 99998)")
    users = [connect(f"user-{n}", due=False) for n in range(2, 5)]
    assert users[0].pk == 99999
    for each in users:
        routine(2, 8 * HOUR, of=each)
        routine(3, 7 * HOUR, of=each)
    roll_up.roll_up()

    steps = [folding.fold_some() for _ in range(4)]

    assert steps == [(2, True), (2, True), (2, True), (0, False)]
    assert folding.fold_some() == (0, False)  # until six hours have passed
    routine(4, 7 * HOUR, of=users[0])
    roll_up.roll_up()
    HistoryMark.objects.update(round_at="2050-01-01T00:00Z")  # the clock was ahead
    assert folding.fold_some() == (1, False)


def test_the_history_of_a_user_who_is_gone_is_not_folded(
    connect: Connect, routine: Routine
) -> None:
    """Whoever deletes a user by SQL alone, or between two statements of Django's."""
    gone = connect("user-9", due=False)
    routine(2, 7 * HOUR, of=gone)
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM spotify_auth_spotifytoken WHERE user_id = %s", [gone.pk])

    assert fold_all() == 1

    assert fetch(f"SELECT count(*) FROM {FOLDED}") == [(0,)]


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_has_folded_nothing(
    user: User, routine: Routine, elsewhere: Elsewhere
) -> None:
    routine(5, 8 * HOUR)
    routine(6, 7 * HOUR)
    fold_all()
    routine(7, 7 * HOUR)
    before = told_of(user)
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"SELECT FROM {FOLDED} FOR UPDATE")
        folds = elsewhere(fold_all)
        wait_for(sessions_waiting, what="the fold to wait")
        end = "SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid"
        cursor.execute(end, [sessions_waiting()])
        with pytest.raises(Error):
            folds.result(20)
    assert told_of(user) == before

    assert fold_all() == 1

    assert [row[1] for row in told_of(user)] == [7, 6, 5]
    assert total() == 3


@pytest.mark.django_db(transaction=True)
def test_a_user_who_is_deleted_meanwhile_leaves_nothing(
    user: User, routine: Routine, elsewhere: Elsewhere
) -> None:
    """Their events are being folded, not yet committed, when they are deleted."""
    routine(5, 7 * HOUR)
    roll_up.roll_up()
    with transaction.atomic():
        folding.fold_some()
        gone = elsewhere(user.delete)
        wait_for(sessions_waiting, what="the deletion to wait")
    gone.result(20)

    assert not TokenEvent.objects.exists()
