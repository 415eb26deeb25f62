"""The simulation of a limit: what it must show, on few users and with fixed seeds."""

import math
from dataclasses import replace

import pytest

from benchmarks.simulation.pace.limiters import FixedWindow, Limiter, SlidingWindow, TokenBucket
from benchmarks.simulation.pace.result import Result
from benchmarks.simulation.pace.scenario import Case, Kind, Pacing, RetryAfter
from benchmarks.simulation.pace.simulation import PaceSimulation
from benchmarks.simulation.pace.tables import misses

CASE = Case(
    cap=1.2, outage=3600, retry_after=RetryAfter.THIRTY, users=20_000, horizon=90 * 60, seed=1
)


def run(case: Case) -> Result:
    return PaceSimulation(case).run()


@pytest.mark.parametrize(
    "limiter", [FixedWindow(10, phase=12.0), SlidingWindow(10), TokenBucket(10)]
)
def test_a_limiter_lets_through_what_it_says(limiter: Limiter) -> None:
    let_through = sum(limiter.accept(now / 10, 2) for now in range(6000))

    # A bucket was full at the beginning, and a window may be so at both ends.
    assert 6000 <= let_through <= 6300
    assert limiter.accept(600.0, 10_000) < 10_000
    assert 0 < limiter.free_after(600.0) <= 30


def test_an_oracle_stays_below_the_limit_and_uses_it() -> None:
    result = run(replace(CASE, pacing=Pacing.ORACLE))

    assert result.refused == 0
    assert result.used > 0.98
    # Every token expired, and each is refreshed once, at the limit; the first turn adds little.
    assert 45 / 1.2 < result.minutes < 1.1 * 45 / 1.2


def test_a_learned_pace_recovers_where_the_service_did_not_without_one() -> None:
    without = run(replace(CASE, pacing=Pacing.NONE))
    learned = run(CASE)

    assert math.isinf(without.minutes)
    assert without.used < 0.8
    assert learned.minutes < 60
    assert learned.used > 0.9
    assert learned.refused_share < 0.01


def test_every_user_is_stale_or_fresh() -> None:
    """The count that is kept second by second agrees with the tokens themselves."""
    simulation = PaceSimulation(replace(CASE, cap=0.7, kind=Kind.SLIDING, horizon=20 * 60))

    result = simulation.run()

    now = simulation.case.end + len(result.stale)
    assert result.stale[-1] == int((simulation.expires < now).sum()) > 0
    waiting = sum(chunk.size for _, chunk in simulation.queue)
    planned = sum(
        chunk.size
        for calendar in (simulation.calendar, simulation.soon)
        for chunks in calendar.values()
        for chunk in chunks
    )
    assert waiting == simulation.waiting
    assert waiting + planned == CASE.users


def test_a_goal_that_one_seed_misses_is_missed() -> None:
    good = Result(case=CASE, calls=1000, refused=9, behind_granted=96, behind_allowed=100.0)
    bad = replace(good, refused=11, behind_granted=94, stale=[5] * 600 + [0] * 60)
    oracle = replace(good, stale=[5] * 540 + [0] * 60)

    assert misses([good, good], [oracle]) == []
    assert misses([good, bad], [oracle]) == [
        "MISSED: first",
        "MISSED: for good",
        "MISSED: limit used",
        "MISSED: 429s",
    ]
