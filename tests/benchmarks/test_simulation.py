"""The model against the event-by-event simulation, and both against arithmetic."""

import math
from dataclasses import replace

import pytest

from benchmarks.simulation.exact import ExactSimulation
from benchmarks.simulation.load import Load
from benchmarks.simulation.sampled import SampledSimulation
from benchmarks.simulation.scenario import (
    DAY,
    LIFETIME_SECONDS,
    SWEEP_SECONDS,
    Activity,
    Dormancy,
    Failing,
    Outage,
    RateLimit,
    Scenario,
    lanes_for,
    mean_load,
)
from spotify_auth import schedule
from spotify_auth.refresh.history import FAILED_IN_A_ROW

HOUR = 3600.0
USERS = 10_000
QUIET = Scenario(
    name="quiet", users=USERS, lanes=lanes_for(USERS, latency=0.2, headroom=4), duration=DAY / 2
)
AWAY = Outage(start=3 * HOUR, seconds=2 * HOUR)
CASES = {
    "quiet": QUIET,
    "slow": replace(QUIET, latency=2.0, lanes=15),
    "pauses": replace(QUIET, outage=AWAY),
    "answers": replace(QUIET, outage=replace(AWAY, failing=Failing.ANSWERS)),
    # Lanes enough that the back-off, and not their number, says how often is asked.
    "backs off": replace(
        QUIET, outage=replace(AWAY, seconds=3600, failing=Failing.ANSWERS), lanes=60
    ),
    "hangs": replace(QUIET, outage=replace(AWAY, failing=Failing.HANGS)),
    "ours": replace(QUIET, outage=replace(AWAY, failing=Failing.OURS)),
    "at once": replace(QUIET, all_due_at_once=True),
    "limited": replace(QUIET, rate_limit=RateLimit(per_second=3.0)),
}
Kind = type[ExactSimulation] | type[SampledSimulation]
either = pytest.mark.parametrize("kind", [ExactSimulation, SampledSimulation])


@either
def test_the_mean_load_is_one_refresh_a_user_in_three_quarters_of_a_lifetime(kind: Kind) -> None:
    load = kind(QUIET, seed=1).run()

    # Half a sweep is what a due token waits for the next one, on average.
    expected = USERS / (0.75 * LIFETIME_SECONDS + SWEEP_SECONDS / 2)
    assert load.mean_per_second() == pytest.approx(expected, rel=0.01)
    assert load.mean_per_second() == pytest.approx(mean_load(USERS), rel=0.01)
    assert load.ever_stale() == 0


@either
def test_busy_lanes_follow_littles_law(kind: Kind) -> None:
    load = kind(CASES["slow"], seed=1).run()

    assert load.mean_busy() == pytest.approx(load.mean_per_second() * 2.0, rel=0.01)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[pytest.mark.slow] if name == "backs off" else [])
        for name, case in CASES.items()
    ],
)
def test_the_sample_agrees_with_the_simulation_of_each_event(case: Scenario) -> None:
    exact = ExactSimulation(case, seed=1).run()
    sampled = SampledSimulation(case, seed=2).run()

    assert sampled.mean_per_second() == pytest.approx(exact.mean_per_second(), rel=0.02)
    assert sum(sampled.attempts) == pytest.approx(sum(exact.attempts), rel=0.03)
    assert sampled.mean_busy() == pytest.approx(exact.mean_busy(), rel=0.03)
    assert sampled.ever_stale() == pytest.approx(exact.ever_stale(), rel=0.03)
    assert sampled.stale_seconds() == pytest.approx(exact.stale_seconds(), rel=0.05)
    # Hour by hour, to a tenth of the mean: herds fall into the same hours.
    tenth = mean_load(USERS) * HOUR / 10
    assert by_the_hour(sampled) == pytest.approx(by_the_hour(exact), abs=tenth)


@pytest.mark.parametrize("name", ["answers", "pauses"])
def test_a_token_stands_for_ten_users(name: str) -> None:
    case = replace(CASES[name], users=100_000, lanes=lanes_for(100_000, latency=0.2, headroom=2))

    whole = SampledSimulation(case, seed=1).run()
    tenth = SampledSimulation(case, seed=2, sample=10_000).run()

    assert tenth.weight == 10
    assert tenth.mean_per_second() == pytest.approx(whole.mean_per_second(), rel=0.01)
    assert tenth.peak_per_second() == pytest.approx(whole.peak_per_second(), rel=0.02)
    assert tenth.mean_busy() == pytest.approx(whole.mean_busy(), rel=0.02)
    assert tenth.ever_stale() == pytest.approx(whole.ever_stale(), rel=0.02)
    assert tenth.stale_seconds() == pytest.approx(whole.stale_seconds(), rel=0.03)


@either
def test_no_minute_holds_more_than_the_lanes_can_do(kind: Kind) -> None:
    load = kind(replace(CASES["answers"], lanes=1), seed=1).run()

    assert load.peak_per_second() == pytest.approx(5.0, rel=0.01)


@either
def test_all_lanes_pause_when_nobody_is_answered(kind: Kind) -> None:
    case = CASES["pauses"]

    load = kind(case, seed=1).run()

    first, last = int(AWAY.start // 60), int(AWAY.end // 60)
    # The pause is shorter than the way to the next sweep, whose first lane probes.
    probes = 60 / SWEEP_SECONDS
    unheard = case.capacity(0) * case.latency + case.lanes
    assert FAILED_IN_A_ROW <= load.attempts[first] <= FAILED_IN_A_ROW + unheard + probes
    assert sum(load.attempts[first + 1 : last]) == pytest.approx(
        (last - first - 1) * probes, rel=0.01
    )


@either
def test_nothing_is_called_while_our_workers_are_away(kind: Kind) -> None:
    load = kind(CASES["ours"], seed=1).run()

    first, last = int(AWAY.start // 60), int(AWAY.end // 60)
    assert sum(load.attempts[first + 1 : last]) == 0
    assert load.stale_share() == pytest.approx(1.0)
    assert load.recovered_after(AWAY.end) < HOUR


@either
def test_ten_minutes_away_make_nobody_stale(kind: Kind) -> None:
    """Every token has twelve minutes when it becomes due, and the first are served first."""
    load = kind(replace(QUIET, outage=replace(AWAY, seconds=600)), seed=1).run()

    assert load.ever_stale() == 0


@either
def test_without_the_pause_ten_minutes_make_few_stale_and_not_for_long(kind: Kind) -> None:
    case = replace(QUIET, outage=replace(AWAY, seconds=600, failing=Failing.ANSWERS))

    load = kind(case, seed=1).run()

    # Those whose last wait was long, and began just before the end.
    assert 0 < load.ever_stale() < USERS * 0.003
    assert load.stale_seconds()[2] < schedule.BACK_OFF_LIMIT_SECONDS


@pytest.mark.slow
@either
def test_lanes_that_overrun_a_cap_do_not_recover_from_an_outage(kind: Kind) -> None:
    """While paced lanes do: the cap is above the mean, and the pauses waste half of it."""
    limit = RateLimit(per_second=4.2)
    case = replace(QUIET, rate_limit=limit, outage=AWAY, lanes=1, duration=DAY)

    overrun = kind(case, seed=1).run()
    paced = kind(replace(case, latency=0.25), seed=1).run()

    assert overrun.recovered_after(AWAY.end) == math.inf
    assert paced.recovered_after(AWAY.end) < math.inf


@pytest.mark.slow
def test_the_dormant_share_is_what_the_visits_say() -> None:
    kinds = (
        Activity(name="weekly", share=0.5, days_between_visits=7),
        Activity(name="monthly", share=0.5, days_between_visits=30),
    )
    dormancy = Dormancy(after=7 * DAY, activities=kinds)

    load = SampledSimulation(replace(QUIET, dormancy=dormancy, duration=2 * DAY), seed=1).run()

    awake = 1 - (math.exp(-1) + math.exp(-7 / 30)) / 2
    refreshed = load.mean_per_second(first=DAY)
    # A visit wakes a token at once, which refreshes it a little more often.
    assert refreshed == pytest.approx(mean_load(USERS) * awake, rel=0.03)


def by_the_hour(load: Load) -> list[float]:
    """Refreshes in each hour."""
    return [sum(load.refreshed[n : n + 60]) for n in range(0, len(load.refreshed) - 1, 60)]
