"""What a run counted."""

from array import array
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.simulation.refusals.scenario import Fault

MINUTE = 60.0


def _times() -> "array[float]":
    return array("d")


@dataclass(kw_only=True, slots=True)
class Result:
    """Counts of users, and times in seconds."""

    fault: Fault
    ended: float = 0.0
    calls: list[int] = field(default_factory=list)
    """Calls of the token endpoint, one number a minute."""
    healthy_stale: "array[float]" = field(default_factory=_times)
    """How long each token was stale that Spotify had not refused since its last grant."""
    least_left: float = float("inf")
    """The shortest time that such a token had left when it was refreshed, until it is stale."""
    refused_stale: "array[float]" = field(default_factory=_times)
    """How long each token was stale that was refused falsely."""
    stale_after_the_end: "array[float]" = field(default_factory=_times)
    """How long of that was after the last false refusal."""
    wrongly_condemned: "array[float]" = field(default_factory=_times)
    """From each false verdict until the user was active again."""
    button: "array[float]" = field(default_factory=_times)
    """From the moment a dead user's pages stop until they show *Reconnect now*."""
    verdict: "array[float]" = field(default_factory=_times)
    """From the same moment until the verdict."""
    dead: int = 0
    """Users whose token died."""
    never_told: int = 0
    """Dead users who had neither a verdict nor logged in when the run ended."""
    decided: int = 0
    """Calls of `decide` after a refusal."""

    def count_calls(self, at: float, calls: int) -> None:
        """Add calls that began in this minute."""
        minute = int(at // MINUTE)
        if minute >= len(self.calls):
            self.calls.extend([0] * (minute + 1 - len(self.calls)))
        self.calls[minute] += calls

    def calls_a_second(self) -> tuple[float, float]:
        """Mean and busiest minute, from the beginning of the fault to an hour after its end."""
        first = int(self.fault.begins // MINUTE)
        until = min(self.ended, self.fault.ends + 60 * MINUTE)
        minutes = self.calls[first : int(until // MINUTE)]
        return fmean(minutes) / MINUTE, max(minutes) / MINUTE
