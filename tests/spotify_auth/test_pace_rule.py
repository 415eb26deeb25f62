"""The rule by which a limit is learned: what one 429 teaches, and hours beside true limits."""

from collections import Counter
from dataclasses import dataclass, replace

import pytest

from spotify_auth import pace_rule
from spotify_auth.pace_rule import Carried, Pace, after_a_while, after_refusal, pause_after
from spotify_auth.sandbox.limits import KINDS, Limit

DAY = pace_rule.FORGOTTEN_SECONDS
HALF_AN_HOUR = 1800.0
LIMIT = 12.0
"""Exchanges a second."""


def carried(window: int, *, densest: float = 0.0, since_refusal: int = 1000) -> Carried:
    mean = window / pace_rule.WINDOW_SECONDS
    return Carried(window=window, densest=max(densest, mean), since_refusal=since_refusal)


def refused(pace: Pace, now: float, seen: Carried, *, retry_after: float = 30.0) -> Pace:
    return after_refusal(pace, now=now, begun_at=now, retry_after=retry_after, carried=seen)


def test_there_is_no_pace_before_the_first_429() -> None:
    pace = after_a_while(Pace(), now=5, carried=carried(9000), waited=True)

    assert pace.rate is None


def test_the_first_429_teaches_what_the_window_carried() -> None:
    pace = refused(Pace(), 100, carried(660))

    assert pace.rate == pytest.approx(22 * pace_rule.KEPT_SHARE)


@pytest.mark.parametrize(
    ("now", "seen", "rate"),
    [
        # The pace was kept for the whole window: less.
        (1000, carried(600), 20 * pace_rule.AGAIN_SHARE),
        # The window carried less than that: the limit has fallen.
        (1000, carried(450), 15 * pace_rule.KEPT_SHARE),
        # In the window there is more than the pace let through since the last 429.
        (120, carried(800), 20.0),
        (120, carried(500), 500 / 30 * pace_rule.KEPT_SHARE),
        # Far below the pace, long after the last 429: a stray one.
        (1000, carried(100), 20.0),
        # Again within minutes: the limit has fallen far.
        (200, carried(100), 100 / 30 * pace_rule.KEPT_SHARE),
        # Nothing was answered in between: Retry-After was too short.
        (130, carried(600, since_refusal=0), 20.0),
        # A few were: a tiny limit.
        (130, carried(9, since_refusal=9), 20 * pace_rule.AGAIN_SHARE),
    ],
)
def test_a_429_in_spite_of_a_pace_of_20(now: float, seen: Carried, rate: float) -> None:
    pace = Pace(rate=20.0, refused_at=100.0)

    assert refused(pace, now, seen).rate == pytest.approx(rate)


def test_a_stray_429_in_a_quiet_hour_teaches_no_less_than_what_was_carried_before() -> None:
    busy = after_a_while(Pace(), now=5, carried=carried(600), waited=False)

    assert refused(busy, 1000, carried(3)).rate == pytest.approx(20 * pace_rule.KEPT_SHARE)
    # What was carried hours ago tells nothing.
    later = after_a_while(busy, now=5000, carried=carried(3), waited=False)
    alone = refused(later, 5001, carried(3, since_refusal=3))
    assert alone.rate is None
    # A second one within minutes is believed.
    assert refused(alone, 5040, carried(3, since_refusal=3)).rate == pace_rule.LOWEST


def test_exchanges_under_way_at_a_429_are_the_same_refusal() -> None:
    pace = refused(Pace(), 100.0, carried(664))
    for _ in range(4):
        pace = after_refusal(
            pace, now=100.4, begun_at=99.9, retry_after=30, carried=carried(660, since_refusal=0)
        )

    assert pace.rate == pytest.approx(22 * pace_rule.KEPT_SHARE)
    assert pace.refused_at == 100.0


def test_probes_that_are_refused_lengthen_the_pause() -> None:
    pace, pauses = Pace(rate=20.0, refused_at=100.0), []
    for now in (101.0, 102.0, 104.0, 108.0):
        pace = refused(pace, now, carried(600, since_refusal=0), retry_after=1.0)
        pauses.append(pause_after(pace, retry_after=1.0))

    assert pauses == [2.0, 4.0, 5.0, 5.0]
    assert pause_after(pace, retry_after=30.0) == 30.0
    for_hours = replace(pace, probes=5000)
    assert pause_after(for_hours, retry_after=1.0) == 5.0
    assert pace.rate == 20.0


def test_it_rises_while_tokens_wait_faster_and_faster_and_is_forgotten_after_a_day() -> None:
    pace, rates = Pace(rate=20.0, refused_at=0.0, looked_at=0.0), {}
    for now in range(5, 3600 + 5, 5):
        pace = after_a_while(pace, now=now, carried=carried(600), waited=True)
        rates[now // 60] = pace.rate or 0.0

    assert 20.02 < rates[10] < 20.2
    assert 20.3 < rates[30] < 22
    assert rates[60] > 33
    idle = after_a_while(pace, now=DAY - 1, carried=carried(0), waited=False)
    assert idle.rate == pace.rate
    assert after_a_while(idle, now=DAY, carried=carried(0), waited=False).rate is None


def test_one_long_pause_between_two_looks_is_no_long_wait() -> None:
    pace = Pace(rate=20.0, refused_at=0.0, looked_at=0.0, tried_for=36_000.0)

    later = after_a_while(pace, now=80_000, carried=carried(0), waited=True)

    assert later.rate is not None
    assert later.rate < 20.6


def test_counts_the_window_its_densest_moment_and_what_came_after_a_429() -> None:
    counts = {69: 50, 71: 10, 98: 3, 99: 4, 100: 8}

    assert Carried.of(counts, now=100.2, refused_at=98.7) == Carried(
        window=25, densest=8.0, since_refusal=12
    )


@pytest.mark.parametrize(("ago", "densest"), [(0, 40.0), (1, 20.0), (4, 8.0), (9, 4.0)])
def test_a_burst_is_seen_whose_answers_took_their_time(ago: int, densest: float) -> None:
    assert Carried.of({100 - ago: 40}, now=100.1, refused_at=None).densest == densest


@dataclass
class Outcome:
    """What came of some hours with more to do than the limit allows."""

    answered: int
    """In the last half hour."""
    refused: int
    pace: Pace


def hours(limits: dict[float, Limit], *, seconds: float, retry_after: float | None) -> Outcome:
    """Ask as fast as four times LIMIT and as the pace allows; `limits` by when each begins."""
    now, look_at, waited, pace = 0.0, 0.0, False, Pace()
    counts: Counter[int] = Counter()
    outcome = Outcome(0, 0, pace)
    starts = sorted(limits)
    while now < seconds:
        limit = limits[max(start for start in starts if start <= now)]
        if now >= look_at:
            seen = Carried.of(counts, now=now, refused_at=pace.refused_at)
            pace = after_a_while(pace, now=now, carried=seen, waited=waited)
            look_at, waited = now + 5, False
            counts = Counter({s: n for s, n in counts.items() if s > now - 40})
        waited |= pace.rate is not None
        wait = limit.take(now)
        if wait:
            outcome.refused += 1
            pause = wait if retry_after is None else retry_after
            seen = Carried.of(counts, now=now, refused_at=pace.refused_at)
            pace = after_refusal(pace, now=now, begun_at=now, retry_after=pause, carried=seen)
            now += pause_after(pace, retry_after=max(pause, 1.0))
        else:
            outcome.answered += now >= seconds - HALF_AN_HOUR
            counts[int(now)] += 1
            now += max(1 / (4 * LIMIT), 1 / pace.rate if pace.rate else 0)
    outcome.pace = pace
    return outcome


# Spotify's window, shorter and longer windows, and buckets.
@pytest.mark.parametrize("retry_after", [1.0, None], ids=["1s", "honest"])
@pytest.mark.parametrize(
    ("kind", "seconds", "used"),
    [
        ("fixed", 30, 0.96),
        ("sliding", 30, 0.96),
        ("bucket", 30, 0.96),
        ("sliding", 10, 0.92),
        ("bucket", 2, 0.92),
        ("fixed", 1, 0.92),
        ("fixed", 60, 0.92),
    ],
)
def test_a_limit_of_any_kind_is_found_and_kept(
    kind: str, seconds: float, used: float, retry_after: float | None
) -> None:
    limit = KINDS[kind](round(LIMIT * seconds), seconds)

    outcome = hours({0.0: limit}, seconds=3600, retry_after=retry_after)

    assert outcome.answered >= used * LIMIT * HALF_AN_HOUR
    assert outcome.refused <= 0.01 * outcome.answered


def test_a_retry_after_that_is_always_a_whole_window_is_met_seldom() -> None:
    limit = KINDS["sliding"](round(LIMIT * 30), 30.0)

    outcome = hours({0.0: limit}, seconds=3600, retry_after=30)

    assert outcome.answered >= 0.95 * LIMIT * HALF_AN_HOUR
    assert outcome.refused <= 6


@pytest.mark.parametrize(
    ("counted_from", "rate"),
    [(975.0, 20 * pace_rule.AGAIN_SHARE), (970.0, 10 * pace_rule.KEPT_SHARE)],
)
def test_a_window_that_is_not_all_counted_does_not_tell_how_little_the_limit_is(
    counted_from: float, rate: float
) -> None:
    pace = pace_rule.counted_anew(Pace(rate=20.0, refused_at=900.0), now=counted_from)

    assert refused(pace, 1000, carried(300)).rate == pytest.approx(rate)


def test_before_a_whole_window_is_counted_a_429_teaches_no_pace() -> None:
    """A stray one just after the start would leave a thirtieth of what can be asked."""
    new = pace_rule.counted_anew(Pace(), now=1000.0)

    early = refused(new, 1002, carried(40, densest=40.0), retry_after=30.0)
    assert (early.rate, early.doubted_to) == (None, 0.0)
    # Where a limit is, the next 429 finds it out.
    assert refused(early, 1032, carried(600)).rate == pytest.approx(20 * pace_rule.KEPT_SHARE)


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_a_limit_that_changes_is_found_again(factor: float) -> None:
    """Soon if it falls; within the hour if it is raised."""
    before, after = (KINDS["fixed"](round(LIMIT * 30 * each), 30.0) for each in (1, factor))

    outcome = hours({0.0: before, 1800.0: after}, seconds=5400, retry_after=None)

    assert outcome.pace.rate is not None
    assert 0.9 < outcome.pace.rate / (LIMIT * factor) < 1.1
    assert outcome.refused < 30


def test_a_pace_that_was_learned_far_too_low_recovers_soon() -> None:
    """The bucket was full and small: the window carried a twentieth of what the limit allows."""
    low = refused(Pace(), 0.0, carried(40, densest=40.0), retry_after=1.0)
    assert low.rate is not None
    pace = replace(low, looked_at=0.0)
    for now in range(5, 305, 5):
        pace = after_a_while(pace, now=now, carried=carried(40), waited=True)

    assert pace.rate is not None
    assert pace.rate > 20


def test_a_doubt_waits_while_trying_it_out_costs_a_long_pause() -> None:
    pace = refused(Pace(), 0.0, carried(40, densest=40.0), retry_after=30.0)
    low = pace.rate
    assert low is not None
    rates = {}
    for now in range(5, 905, 5):
        pace = after_a_while(pace, now=now, carried=carried(40), waited=True)
        rates[now] = pace.rate or 0.0

    assert rates[590] < 1.01 * low
    assert rates[900] > 8 * low


def test_a_pace_that_is_refused_is_not_doubted() -> None:
    """It was kept to: a dense moment was let through by it, or came before it."""
    pace = refused(Pace(rate=20.0, refused_at=100.0), 1000, carried(600, densest=90.0))

    assert pace.doubted_to == 0.0
