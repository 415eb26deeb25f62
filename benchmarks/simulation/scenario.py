"""A scenario: how many users, on which fleet, and which failures when."""

from dataclasses import dataclass
from enum import StrEnum

LIFETIME_SECONDS = 3600.0
SWEEP_SECONDS = 10.0
"""REFRESH_SWEEP_SECONDS: lanes that ran dry start again at the next multiple of it."""
DAY, WEEK = 86_400.0, 7 * 86_400.0
RATE_WINDOW_SECONDS = 30.0
"""Spotify counts the calls of an application in windows of this length."""


class Failing(StrEnum):
    """How an outage makes a lane's attempt fail."""

    PAUSES = "answers, and all lanes pause"
    """The token endpoint says 503 at once. Each row that was tried backs off; once so many
    have failed in a row (`history`), all lanes pause (`cooldown`). Then the first lane of a
    sweep probes, and its failure is the next pause. This is the service."""
    ANSWERS = "answers with an error"
    """The same without the pause: each row backs off by itself."""
    HANGS = "does not answer"
    """Each attempt lasts two deadlines, then the row backs off. Without the pause, too."""
    OURS = "our workers are down"
    """Nothing is attempted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """A time without refreshes. `start` and `seconds` in seconds of the simulation."""

    start: float
    seconds: float
    failing: Failing = Failing.PAUSES

    @property
    def end(self) -> float:
        """The first moment at which all is well again."""
        return self.start + self.seconds

    def holds_at(self, now: float) -> bool:
        """Whether it is on."""
        return self.start <= now < self.end


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimit:
    """So many calls a second, counted in windows; a 429 pauses all for `retry_after`."""

    per_second: float
    retry_after: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """A part of the users, and the mean time between two visits of one of them."""

    name: str
    share: float
    days_between_visits: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Dormancy:
    """A user who has not visited for `after` seconds is not refreshed until the next visit."""

    after: float
    activities: tuple[Activity, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One run. Times in seconds."""

    name: str
    users: int
    lanes: int
    latency: float = 0.2
    """Of a lane's whole turn: claim, exchange, write, commit."""
    databases_per_second: float = float("inf")
    """Refreshes a second that PostgreSQL, or all its shards together, can commit."""
    duration: float = WEEK
    outage: Outage | None = None
    rate_limit: RateLimit | None = None
    dormancy: Dormancy | None = None
    all_due_at_once: bool = False
    """Start with every token due in the first second, as after an import."""
    hang_seconds: float = 24.0
    """How long an attempt lasts that is never answered: two deadlines."""

    def attempt_seconds(self, now: float) -> float:
        """How long a lane is busy with an attempt that begins now."""
        failing = self.outage and self.outage.holds_at(now) and self.outage.failing
        return self.hang_seconds if failing is Failing.HANGS else self.latency

    def capacity(self, now: float) -> float:
        """Attempts a second that lanes and databases can make."""
        if self.outage and self.outage.failing is Failing.OURS and self.outage.holds_at(now):
            return 0.0
        return min(self.lanes / self.attempt_seconds(now), self.databases_per_second)


def mean_load(users: float, *, lifetime: float = LIFETIME_SECONDS) -> float:
    """Refreshes a second that this number of users need: one in three quarters of a lifetime."""
    return users / (0.75 * lifetime)


def lanes_for(users: float, *, latency: float, headroom: float) -> int:
    """Little's law: lanes that are busy on average, times the headroom. At least one."""
    return max(1, round(mean_load(users) * latency * headroom))
