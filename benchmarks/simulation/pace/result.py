"""What a run showed."""

import math
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.simulation.pace.scenario import Case

MINUTE = 60


@dataclass(kw_only=True, slots=True)
class Result:
    """One run's counts. Times in seconds, from the end of the outage."""

    case: Case
    calls: int = 0
    """Since the end of the outage."""
    refused: int = 0
    """Of these, answered with 429."""
    behind_seconds: int = 0
    """How long the most urgent token had waited for more than two sweeps."""
    behind_granted: int = 0
    behind_allowed: float = 0.0
    """What the limit would have let through in this time."""
    stale: list[int] = field(default_factory=list)
    """Users with an expired token, at the end of each second since the end of the outage."""
    longest: float = 0.0
    """For how long the one who is stale for longest has been so, at the end of the run."""
    rate_at_the_end: float | None = None
    """The pace, as a multiple of the mean load."""

    @property
    def minutes(self) -> float:
        """Until nobody was stale for the rest of the run; inf if that never came."""
        last = max((second for second, users in enumerate(self.stale) if users), default=-1)
        if last < 0:
            return 0.0
        return math.inf if last == len(self.stale) - 1 else (last + 1) / MINUTE

    @property
    def first_minutes(self) -> float:
        """Until nobody was stale for a minute; some may be again later. Inf if that never came."""
        if not any(self.stale):
            return 0.0
        well = 0
        for second, users in enumerate(self.stale):
            well = 0 if users else well + 1
            if well == MINUTE:
                return (second + 1 - MINUTE) / MINUTE
        return math.inf

    @property
    def used(self) -> float:
        """The share of the limit that was granted while the service was behind."""
        return self.behind_granted / self.behind_allowed if self.behind_allowed else 1.0

    @property
    def refused_share(self) -> float:
        """429s, of all calls."""
        return self.refused / self.calls if self.calls else 0.0

    @property
    def stale_at_the_end(self) -> float:
        """The share of users, in the mean of the last ten minutes."""
        last = self.stale[-10 * MINUTE :]
        return fmean(last) / self.case.users

    def stale_after(self, second: int) -> float:
        """The share of users, in the mean of the time since this one."""
        return fmean(self.stale[second:]) / self.case.users
