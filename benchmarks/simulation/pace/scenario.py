"""A run: the limit, what its answers say, the outage before, and how the service paces itself."""

from dataclasses import dataclass
from enum import StrEnum

LIFETIME_SECONDS = 3600.0
SWEEP_SECONDS = 10
LATENCY_SECONDS = 0.2
"""Of an exchange, half of it more or less."""
QUIET_SECONDS = 1200
"""Before the outage: the lanes work, and the limit counts."""
HORIZON_SECONDS = 4 * 3600
"""How long after the outage a run ends that does not recover."""


class Kind(StrEnum):
    """How the endpoint counts."""

    FIXED = "fixed window"
    SLIDING = "sliding window"
    BUCKET = "token bucket"


class RetryAfter(StrEnum):
    """What a 429 says."""

    ONE = "1 s"
    HONEST = "5 to 30 s"
    """Until another call would be let through, at least 5 s and at most 30 s."""
    THIRTY = "30 s"


class Pacing(StrEnum):
    """Who decides how fast the lanes go."""

    NONE = "no pace"
    LEARNED = "learned"
    ORACLE = "oracle"
    """It knows the limit, and stays just below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """From `at` seconds after the end of the outage on, the limit is `cap` times the mean load."""

    at: float
    cap: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One run. `cap` is a multiple of the mean load; times are in seconds."""

    cap: float
    outage: int = 0
    retry_after: RetryAfter = RetryAfter.ONE
    kind: Kind = Kind.FIXED
    pacing: Pacing = Pacing.LEARNED
    users: int = 1_000_000
    headroom: float = 2.0
    """Lanes, as a multiple of what the mean load keeps busy."""
    change: Change | None = None
    stray_at: float | None = None
    """One call is refused at this time after the outage, whatever the limit says."""
    horizon: int = HORIZON_SECONDS
    seed: int = 1

    @property
    def mean(self) -> float:
        """Refreshes a second that the users need."""
        return self.users / (0.75 * LIFETIME_SECONDS)

    @property
    def end(self) -> int:
        """When the endpoint is back."""
        return QUIET_SECONDS + self.outage
