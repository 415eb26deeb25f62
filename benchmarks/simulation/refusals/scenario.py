"""A fault: who is refused, from when to when, among how many users."""

import math
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.simulation.scenario import LIFETIME_SECONDS, lanes_for
from spotify_auth.conf import DEFAULTS

LATENCY_SECONDS = 0.2
QUIET_SECONDS = 600.0
"""Before the fault begins, so that there is a history to compare with."""
HOUR = 3600.0


class Refused(StrEnum):
    """Whom Spotify refuses."""

    ANSWERS = "any answer"
    """Falsely: each answer is wrong with the same chance, whoever asks."""
    USERS = "the same users"
    """Falsely: always the same users, as one sick node of several would."""
    DEAD = "dead tokens"
    """Truly, and for good: a part of the users."""
    SIX_MONTHS = "six months over"
    """Truly, and our own record says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One run. Times in seconds."""

    name: str
    users: int
    lanes: int
    refused: Refused
    share: float
    """Of the answers or of the users."""
    seconds: float = math.inf
    """How long false refusals last."""
    logins_an_hour: float = 0.0
    """The share of those who must log in again that does so within an hour."""
    longest: float = 9 * HOUR
    """When the run ends at the latest, after the beginning of the fault."""

    @property
    def lies(self) -> bool:
        """Whether the refusals are false."""
        return self.refused in {Refused.ANSWERS, Refused.USERS}

    @property
    def begins(self) -> float:
        """The moment of the first refusal."""
        return QUIET_SECONDS

    @property
    def ends(self) -> float:
        """The first moment at which Spotify tells the truth again; inf for dead tokens."""
        return self.begins + self.seconds

    @property
    def per_second(self) -> float:
        """Calls a second that the lanes can make."""
        return self.lanes / LATENCY_SECONDS

    @property
    def needs(self) -> float:
        """Calls a second of a quiet day."""
        return self.users / (0.75 * LIFETIME_SECONDS)


def usual_lanes(users: int) -> int:
    """REFRESH_LANES: the default, or twice what the number of users needs."""
    default = int(DEFAULTS["REFRESH_LANES"])
    return max(default, lanes_for(users, latency=LATENCY_SECONDS, headroom=2))
