"""The model's Redis: marks of attempts, rescued grants, and the pause that all share."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.model.spotify import Pair

DAY = 24 * 3600.0
KEPT = 7 * DAY
LONGEST_EXCHANGE = 29.0
"""Two deadlines and five seconds."""
DOUBTFUL = LONGEST_EXCHANGE + 10
"""So long a fresh mark makes others wait: the rescue may take a while."""

Place = tuple[str, int]
"""A user and a generation."""


class Moment(NamedTuple):
    """A point in the history: its place in the order of things, and its virtual second."""

    order: int
    at: float


@dataclass(frozen=True)
class Rescue:
    """A grant that PostgreSQL did not take, and when its exchange began."""

    pair: Pair
    rotated: bool
    claimed: Moment


@dataclass
class Hints:
    """What Redis holds. `away`: nobody reaches it, and what it holds stays as it is."""

    away: bool = False
    begun: dict[Place, float] = field(default_factory=dict)
    unanswered: set[Place] = field(default_factory=set)
    rescued: dict[Place, Rescue] = field(default_factory=dict)
    paused_until: float | None = None
    half_open: bool = False
    probing_until: float | None = None

    def begin(self, place: Place, now: float) -> tuple[Rescue | None, bool, bool]:
        """Mark an attempt; the rescued grant, whether it is in doubt, whether unanswered."""
        if self.away:
            return None, False, False
        rescue, begun = self.rescued.get(place), self.begun.get(place)
        in_doubt = begun is not None and now - begun < DOUBTFUL
        unanswered = place in self.unanswered or (begun is not None and not in_doubt)
        if not in_doubt:
            self.begun[place] = now
            self.unanswered.discard(place)
        return rescue, in_doubt, unanswered

    def end(self, place: Place, now: float, *, unanswered: bool) -> None:
        if self.away:
            return
        self.begun.pop(place, None)
        self.unanswered.discard(place)
        if unanswered:
            self.unanswered.add(place)
        else:
            self.rescued.pop(place, None)

    def rescue(self, place: Place, rescue: Rescue) -> bool:
        if not self.away:
            self.rescued[place] = rescue
        return not self.away

    def doubt_passes(self, place: Place) -> None:
        """The mark of this attempt becomes older than an exchange can last."""
        if place in self.begun:
            self.begun[place] -= DOUBTFUL + 1

    def admit(self, now: float) -> tuple[bool, bool]:
        """Whether a lane may claim now, and whether it is the probe."""
        if self.away:
            return True, False
        if self.paused_until is not None:
            return False, False
        if not self.half_open:
            return True, False
        if self.probing_until is not None:
            return False, False
        self.probing_until = now + LONGEST_EXCHANGE
        return True, True

    def start_pause(self, now: float, seconds: float) -> None:
        if self.away:
            return
        self.paused_until = max(self.paused_until or 0.0, now + seconds)
        self.half_open, self.probing_until = True, None

    def pause_is_over(self) -> None:
        if not self.away:
            self.half_open, self.probing_until = False, None

    def another_may_probe(self) -> None:
        if not self.away:
            self.probing_until = None

    def time_passes(self, now: float, seconds: float) -> None:
        if self.paused_until is not None and self.paused_until <= now:
            self.paused_until = None
        if self.probing_until is not None and self.probing_until <= now:
            self.probing_until = None
        if seconds >= KEPT:
            self.forget_attempts()

    def forget_attempts(self) -> None:
        self.begun.clear()
        self.unanswered.clear()
        self.rescued.clear()

    def flush(self) -> None:
        """Redis loses everything."""
        self.forget_attempts()
        self.paused_until = self.probing_until = None
        self.half_open = False
