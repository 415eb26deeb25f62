"""The drawing of a token's history: pure, so the histories are made up here."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.timeline import Timeline, timeline

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LIFETIME = 100


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def event(outcome: Outcome, seconds: float, pair: int, **more: Any) -> TokenEvent:
    granted = outcome in {Outcome.CONNECTED, Outcome.REFRESHED}
    fields = {
        "cause": Cause.SCHEDULE,
        "generation_after": pair,
        "lifetime_granted": LIFETIME if granted else None,
        **more,
    }
    return TokenEvent(at=ago(seconds), outcome=outcome, **fields)


def drawn(
    events: Sequence[TokenEvent], *, status: str = "active", closed_at: datetime | None = None
) -> Timeline:
    """The drawing for a row whose newest pair is that of the newest grant."""
    granted = [e for e in events if e.lifetime_granted]
    newest = max(granted, key=lambda e: e.at) if granted else None
    issued = newest.at if newest else ago(10)
    token = SpotifyToken(
        status=status,
        generation=newest.generation_after or 41 if newest else 41,
        refreshed_at=issued,
        expires_at=issued + timedelta(seconds=LIFETIME),
        due_at=issued + timedelta(seconds=75),
        closed_at=closed_at,
    )
    # Newest first, as the model orders them.
    return timeline(token, sorted(events, key=lambda e: e.at, reverse=True), now=NOW)


def refreshed_every(seconds: int, *, since: int) -> list[TokenEvent]:
    """A log-in so many seconds ago, and then a refresh every so many seconds."""
    moments = range(since, 0, -seconds)
    outcomes = [Outcome.CONNECTED] + [Outcome.REFRESHED] * (len(moments) - 1)
    return [
        event(outcome, moment, pair)
        for pair, (outcome, moment) in enumerate(zip(outcomes, moments, strict=True), start=1)
    ]


def test_refreshes_in_time_leave_no_gap() -> None:
    drawing = drawn(refreshed_every(75, since=310))

    assert len(drawing.fresh) == 1
    assert drawing.gaps == []
    assert drawing.fresh_seconds == 310
    assert (drawing.refreshed, drawing.failed) == (4, 0)


def test_a_late_refresh_leaves_a_gap_of_its_length() -> None:
    drawing = drawn(
        [
            event(Outcome.CONNECTED, 300, 1),
            event(Outcome.REFRESHED, 160, 2),
            event(Outcome.REFRESHED, 80, 3),
        ]
    )

    assert [gap.seconds for gap in drawing.gaps] == [40]
    assert len(drawing.fresh) == 2
    assert drawing.fresh_seconds == 160
    assert drawing.refreshed == 2


def test_a_token_that_has_expired_is_in_a_gap_until_now() -> None:
    drawing = drawn([event(Outcome.CONNECTED, 130, 1)])

    assert drawing.fresh_seconds is None
    assert [gap.seconds for gap in drawing.gaps] == [30]


def test_the_time_without_a_connection_is_no_gap() -> None:
    drawing = drawn(
        [
            event(Outcome.CONNECTED, 300, 1),
            event(Outcome.DISCONNECTED, 280, 1),
            event(Outcome.CONNECTED, 50, 2),
        ]
    )

    assert drawing.gaps == []
    assert [span.seconds for span in drawing.fresh] == [20, 50]
    assert drawing.fresh_seconds == 50


def test_who_connects_again_at_once_was_still_disconnected() -> None:
    drawing = drawn(
        [
            event(Outcome.CONNECTED, 90, 1),
            event(Outcome.DISCONNECTED, 50, 1),
            event(Outcome.CONNECTED, 49.5, 2),
        ]
    )

    assert drawing.fresh_seconds == 49.5
    assert drawing.gaps == []


def test_one_event_is_one_pair() -> None:
    drawing = drawn([event(Outcome.CONNECTED, 40, 7)])

    (pair,) = drawing.pairs
    assert pair.generation == 7
    assert (pair.used.seconds, pair.spare.seconds) == (40, 60)
    assert drawing.fresh_seconds == 40
    assert drawing.refreshed == 0
    assert not drawing.just_now


def test_without_events_the_row_itself_is_drawn() -> None:
    drawing = drawn([])

    assert [pair.generation for pair in drawing.pairs] == [41]
    assert drawing.fresh_seconds == 10


def test_failures_are_marked_until_one_succeeds() -> None:
    drawing = drawn(
        [
            event(Outcome.CONNECTED, 160, 1),
            event(Outcome.RETRY, 85, 1),
            event(Outcome.ANSWER_UNKNOWN, 80, 1),
            event(Outcome.REFRESHED, 70, 2),
        ]
    )

    assert [failure.what for failure in drawing.failures] == [
        "Failed, will be tried again",
        "No usable answer: Spotify may have rotated",
    ]
    assert [trouble.seconds for trouble in drawing.troubles] == [15]
    assert drawing.failed == 2
    assert drawing.gaps == []


def test_trouble_that_goes_on_reaches_to_now() -> None:
    drawing = drawn([event(Outcome.CONNECTED, 90, 1), event(Outcome.RETRY, 12, 1)])

    assert [trouble.seconds for trouble in drawing.troubles] == [12]


def test_a_pair_lives_from_the_start_of_its_exchange() -> None:
    late = event(Outcome.REFRESHED, 95, 2, duration_ms=8000)
    drawing = drawn([event(Outcome.CONNECTED, 180, 1), late, event(Outcome.REFRESHED, 20, 3)])

    assert drawing.pairs[1].used.seconds == 83


def test_a_rescued_pair_is_as_old_as_its_successor_says() -> None:
    rescued = event(Outcome.REFRESHED, 70, 2, cause=Cause.RESCUE, duration_ms=0)
    successor = event(Outcome.REFRESHED, 20, 3, lifetime_used=80, duration_ms=0)
    drawing = drawn([event(Outcome.CONNECTED, 180, 1), rescued, successor])

    assert drawing.pairs[1].used.seconds == 80
    assert drawing.gaps == []


@pytest.mark.parametrize(("seconds", "just_now"), [(4, True), (6, False)])
def test_a_refresh_is_just_now_for_a_twentieth_of_a_lifetime(
    seconds: float, just_now: bool
) -> None:
    drawing = drawn([event(Outcome.CONNECTED, 80, 1), event(Outcome.REFRESHED, seconds, 2)])

    assert drawing.just_now is just_now


def test_neighbours_lie_in_different_lanes_and_only_the_last_six_lifetimes_are_drawn() -> None:
    drawing = drawn(refreshed_every(75, since=3000))

    assert drawing.shown_seconds == 600
    assert drawing.fresh_seconds == 3000
    lanes = [pair.lane for pair in drawing.pairs]
    assert all(one != other for one, other in pairwise(lanes))
    assert len(drawing.pairs) == 9


@pytest.mark.parametrize(("status", "due"), [("active", True), ("reconnect_required", False)])
def test_only_a_token_that_is_kept_fresh_has_a_next_refresh(status: str, due: bool) -> None:
    drawing = drawn([event(Outcome.CONNECTED, 40, 1)], status=status)

    assert bool(drawing.due) is due


def test_every_shape_lies_in_the_drawing() -> None:
    drawing = drawn(refreshed_every(130, since=2000))

    for stretch in (*drawing.fresh, *drawing.gaps, *(pair.used for pair in drawing.pairs)):
        left, width = (float(value.removesuffix("%")) for value in (stretch.x, stretch.width))
        assert 0 <= left <= left + width <= 100.01
