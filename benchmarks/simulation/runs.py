"""The runs whose figures are in docs/measurements/simulation.md."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.simulation.measured import DATABASE_PER_SECOND
from benchmarks.simulation.scenario import (
    DAY,
    Activity,
    Dormancy,
    Failing,
    Outage,
    RateLimit,
    Scenario,
    lanes_for,
    mean_load,
)

HOUR, MINUTES = 3600.0, 60.0
SIZES = {"1 million": 1_000_000, "10 million": 10_000_000, "100 million": 100_000_000}
BEGINS = DAY
"""The second day, so that a quiet day comes first."""
LATENCIES = (0.05, 0.2, 2.0)
FACTORS = (0.9, 1.0, 1.1, 1.5, 2.0)
"""Lanes, as a multiple of what Little's law says is busy on average."""

ACTIVITIES = (
    Activity(name="daily", share=0.25, days_between_visits=1.0),
    Activity(name="weekly", share=0.25, days_between_visits=7.0),
    Activity(name="monthly", share=0.20, days_between_visits=30.0),
    Activity(name="gone", share=0.30, days_between_visits=365.0),
)
"""Assumed, not measured: how often the users of a large service come by."""

INCIDENTS = {
    "no incident": None,
    "endpoint away 10 min": Outage(start=BEGINS, seconds=10 * MINUTES),
    "endpoint away 2 h": Outage(start=BEGINS, seconds=2 * HOUR),
    "endpoint away 8 h": Outage(start=BEGINS, seconds=8 * HOUR),
    "our workers away 2 h": Outage(start=BEGINS, seconds=2 * HOUR, failing=Failing.OURS),
}


def databases_for(users: int) -> int:
    """PostgreSQL servers so that the mean load is at most two thirds of what they commit."""
    return max(1, -(-int(mean_load(users) * 1.5) // DATABASE_PER_SECOND))


def fleet(users: int, *, headroom: float = 2.0) -> Scenario:
    """A quiet week on lanes for `headroom` times the mean load, at 200 ms."""
    return Scenario(
        name="no incident",
        users=users,
        lanes=lanes_for(users, latency=0.2, headroom=headroom),
        databases_per_second=databases_for(users) * DATABASE_PER_SECOND,
    )


def incidents() -> Iterator[tuple[str, Scenario]]:
    """Each incident for each number of users, with the number in words."""
    for size, users in SIZES.items():
        for name, outage in INCIDENTS.items():
            yield size, replace(fleet(users), name=name, outage=outage)


def outage_kinds() -> Iterator[Scenario]:
    """Two hours away: without a pause, answered and unanswered, and as the service does."""
    for failing in (Failing.ANSWERS, Failing.HANGS, Failing.PAUSES):
        outage = Outage(start=BEGINS, seconds=2 * HOUR, failing=failing)
        yield replace(fleet(1_000_000, headroom=4), name=failing.value, outage=outage)


def headrooms() -> Iterator[tuple[float, Scenario]]:
    """Two hours away with fewer and with more lanes."""
    for headroom in (1.25, 1.5, 2.0, 4.0, 8.0):
        outage = INCIDENTS["endpoint away 2 h"]
        name = f"endpoint away 2 h, lanes for {headroom:g} x"
        yield headroom, replace(fleet(1_000_000, headroom=headroom), name=name, outage=outage)


def rate_limits() -> Iterator[Scenario]:
    """A million users under a cap on calls, with lanes that respect it and that do not."""
    need = mean_load(1_000_000)
    short = Outage(start=DAY / 4, seconds=10 * MINUTES)
    for name, cap, lanes_per_second, outage in (
        ("cap 1.5 x the mean, lanes for 2 x", 1.5, 2.0, None),
        ("cap 1.2 x the mean, lanes for 2 x", 1.2, 2.0, None),
        ("the same, and the endpoint away 10 min", 1.2, 2.0, short),
        ("the same, lanes for 0.95 of the cap", 1.2, 0.95 * 1.2, short),
        ("cap 0.9 x the mean, lanes for 2 x", 0.9, 2.0, None),
        ("cap 0.9 x the mean, lanes for 0.95 of the cap", 0.9, 0.95 * 0.9, None),
    ):
        yield Scenario(
            name=name,
            users=1_000_000,
            lanes=lanes_for(1_000_000, latency=0.2, headroom=lanes_per_second),
            duration=2 * DAY,
            outage=outage,
            rate_limit=RateLimit(per_second=cap * need),
        )


def one_database() -> Scenario:
    """A hundred million users on a single PostgreSQL."""
    return replace(fleet(100_000_000), databases_per_second=DATABASE_PER_SECOND, duration=DAY / 2)


def import_at_once() -> Scenario:
    """Everybody due in the first second, as after an import."""
    return replace(fleet(1_000_000), name="all due at once", all_due_at_once=True)


def dormancies() -> Iterator[tuple[float, Scenario]]:
    """Days unseen until a token is left asleep; the last is "never"."""
    for days in (7.0, 14.0, 30.0, 100_000.0):
        dormancy = Dormancy(after=days * DAY, activities=ACTIVITIES)
        yield (
            days,
            replace(
                fleet(10_000_000),
                name=f"asleep after {days:g} days",
                duration=3 * DAY,
                dormancy=dormancy,
            ),
        )


def lane_counts() -> Iterator[tuple[float, float, Scenario]]:
    """Latencies and multiples of Little's number, a million users."""
    for latency in LATENCIES:
        for factor in FACTORS:
            lanes = lanes_for(1_000_000, latency=latency, headroom=factor)
            yield (
                latency,
                factor,
                Scenario(
                    name="lanes", users=1_000_000, lanes=lanes, latency=latency, duration=DAY / 2
                ),
            )


def visits_a_day(users: int) -> float:
    """Visits of all kinds of users."""
    return users * sum(kind.share / kind.days_between_visits for kind in ACTIVITIES)
