"""The results of a run, by the minute, and the figures derived from them."""

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, quantiles

from benchmarks.simulation.scenario import Scenario

MINUTE = 60.0
TURN_MINUTES = 45
"""Three quarters of a lifetime: in this time every token is refreshed once."""


@dataclass(kw_only=True, slots=True)
class Load:
    """One run's counts, in users: a sample's counts are multiplied by its weight."""

    scenario: Scenario
    weight: float = 1.0
    attempts: list[float] = field(default_factory=list)
    """Calls of the token endpoint, one number a minute."""
    refreshed: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    """Mean number of busy lanes in that minute."""
    wakes: list[float] = field(default_factory=list)
    """Visits that found a dormant token with too old a pair."""
    stale_changes: list[float] = field(default_factory=list)
    spells: "array[float]" = field(default_factory=lambda: array("d"))
    """How long each stale token of the sample was stale, in seconds."""

    def __post_init__(self) -> None:
        minutes = math.ceil(self.scenario.duration / MINUTE)
        for name in ("attempts", "refreshed", "busy", "wakes", "stale_changes"):
            setattr(self, name, [0.0] * (minutes + 1))

    def count(self, now: float, *, attempts: float, refreshed: float, lane_seconds: float) -> None:
        """Add what began at `now`, in tokens of the sample."""
        minute = self._minute(now)
        self.attempts[minute] += attempts * self.weight
        self.refreshed[minute] += refreshed * self.weight
        self.busy[minute] += lane_seconds * self.weight / MINUTE

    def woke(self, now: float, tokens: float) -> None:
        """Add visits that found a token asleep."""
        self.wakes[self._minute(now)] += tokens * self.weight

    def was_stale(self, since: float, until: float) -> None:
        """Add one stale spell of one token of the sample."""
        self.spells.append(until - since)
        self.stale_changes[self._minute(since)] += self.weight
        self.stale_changes[self._minute(until)] -= self.weight

    def _minute(self, now: float) -> int:
        return min(max(0, int(now // MINUTE)), len(self.attempts) - 1)

    # Figures.

    @property
    def stale(self) -> list[float]:
        """Users with an expired access token, one number a minute."""
        total, series = 0.0, []
        for change in self.stale_changes:
            total += change
            series.append(total)
        return series

    def mean_per_second(self, *, first: float = 0.0, last: float | None = None) -> float:
        """Refreshes a second between two moments."""
        return fmean(self._between(self.refreshed, first, last)) / MINUTE

    def peak_per_second(self, *, first: float = 0.0, last: float | None = None) -> float:
        """Calls a second in the busiest minute between two moments."""
        return max(self._between(self.attempts, first, last)) / MINUTE

    def mean_busy(self, *, first: float = 0.0, last: float | None = None) -> float:
        """Busy lanes, on average."""
        return fmean(self._between(self.busy, first, last))

    def herd(self, *, after: float, turn: int) -> float:
        """Peak through mean load, by the minute, of a turn (0.75 lifetimes) after a given time."""
        first = int(after // MINUTE) + turn * TURN_MINUTES
        minutes = self.refreshed[first : first + TURN_MINUTES]
        return max(minutes) / fmean(minutes)

    def stale_share(self) -> float:
        """The share of users that is stale in the worst minute."""
        return max(self.stale) / self.scenario.users

    def ever_stale(self) -> float:
        """Stale spells, in users."""
        return len(self.spells) * self.weight

    def stale_seconds(self) -> tuple[float, float, float]:
        """Median, 95 % and longest spell in seconds; zeros if no token was stale."""
        if len(self.spells) < 2:
            return (self.spells[0],) * 3 if self.spells else (0.0, 0.0, 0.0)
        cuts = quantiles(self.spells, n=20, method="inclusive")
        return cuts[9], cuts[18], max(self.spells)

    def recovered_after(self, moment: float) -> float:
        """Seconds from a given time until no token is stale; inf if that never comes."""
        stale, first = self.stale, int(moment // MINUTE)
        # Half a token: what rounding leaves of sums of weights.
        left = [minute for minute in range(first, len(stale)) if stale[minute] > self.weight / 2]
        if not left:
            return 0.0
        return math.inf if left[-1] >= len(stale) - 2 else (left[-1] + 1) * MINUTE - moment

    @staticmethod
    def _between(series: list[float], first: float, last: float | None) -> list[float]:
        # The last entry only takes what falls beyond the end.
        end = len(series) - 1 if last is None else int(last // MINUTE)
        return series[int(first // MINUTE) : end]


Simulate = Callable[[Scenario], Load]
"""Makes a run: the sampled simulation, with the caller's sample."""
