"""The model's Redis: marks of attempts, rescued grants, and the pause that all share."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.model.spotify import Pair

DAY = 24 * 3600.0
KEPT = 7 * DAY
LONGEST_EXCHANGE = 29.0
"""Two deadlines and five seconds."""
STORED = 60.0
"""How long a grant stays after PostgreSQL took it."""
DOUBTFUL = LONGEST_EXCHANGE + 10
"""So long a fresh mark makes others wait: the rescue may take a while."""

HALF_OPEN = 60.0
"""How long after a pause only a probe may ask."""

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
    begun: dict[Place, tuple[float, object]] = field(default_factory=dict)
    """When the attempt began that is marked, and which it is."""
    unanswered: set[Place] = field(default_factory=set)
    rescued: dict[Place, Rescue] = field(default_factory=dict)
    stored_until: dict[Place, float] = field(default_factory=dict)
    paused_until: float | None = None
    half_open_until: float | None = None
    probing_until: float | None = None

    def begin(self, place: Place, now: float, attempt: object) -> tuple[Rescue | None, bool, bool]:
        """Mark an attempt; the saved grant, whether it is in doubt, whether unanswered."""
        if self.away:
            return None, False, False
        rescue, begun = self.rescued.get(place), self.begun.get(place)
        unresolved = begun is not None and now - begun[0] < DOUBTFUL
        unanswered = place in self.unanswered or (begun is not None and not unresolved)
        if not unresolved:
            self.begun[place] = (now, attempt)
            self.unanswered.discard(place)
        # A saved grant is what an unresolved attempt may still save.
        return rescue, unresolved and rescue is None, unanswered

    def stored(self, place: Place, rescue: Rescue, now: float) -> None:
        """The generation has passed; what replaced it is kept for a minute."""
        if not self.away:
            self.begun.pop(place, None)
            self.unanswered.discard(place)
            self.rescued[place] = rescue
            self.stored_until[place] = now + STORED

    def end(self, place: Place, attempt: object, *, unanswered: bool) -> None:
        """The attempt is over, and the token as it was."""
        others = place in self.begun and self.begun[place][1] is not attempt
        if self.away or others or place in self.unanswered:
            return  # away, or what is there was left by another attempt
        self.begun.pop(place, None)
        if unanswered:
            self.unanswered.add(place)

    def rescue(self, place: Place, rescue: Rescue) -> bool:
        if not self.away:
            self.rescued[place] = rescue
            self.stored_until.pop(place, None)
        return not self.away

    def doubt_passes(self, place: Place) -> None:
        """The mark of this attempt becomes older than an exchange can last."""
        if place in self.begun:
            began, attempt = self.begun[place]
            self.begun[place] = (began - DOUBTFUL - 1, attempt)

    def admit(self, now: float) -> tuple[bool, bool]:
        """Whether a lane may claim now, and whether it is the probe."""
        if self.away:
            return True, False
        if self.paused_until is not None:
            return False, False
        if self.half_open_until is None:
            return True, False
        if self.probing_until is not None:
            return False, False
        self.probing_until = now + LONGEST_EXCHANGE
        return True, True

    def start_pause(self, now: float, seconds: float, *, half_open: float = HALF_OPEN) -> None:
        if self.away:
            return
        self.paused_until = max(self.paused_until or 0.0, now + seconds)
        self.half_open_until, self.probing_until = self.paused_until + half_open, None

    def pause_is_over(self) -> None:
        if not self.away:
            self.half_open_until, self.probing_until = None, None

    def another_may_probe(self) -> None:
        if not self.away:
            self.probing_until = None

    def time_passes(self, now: float, seconds: float) -> None:
        if self.paused_until is not None and self.paused_until <= now:
            self.paused_until = None
        if self.probing_until is not None and self.probing_until <= now:
            self.probing_until = None
        if self.half_open_until is not None and self.half_open_until <= now:
            self.half_open_until = None
        for place in [place for place, until in self.stored_until.items() if until <= now]:
            del self.stored_until[place], self.rescued[place]
        if seconds >= KEPT:
            self.forget_attempts()

    def forget_attempts(self) -> None:
        self.begun.clear()
        self.unanswered.clear()
        self.rescued.clear()
        self.stored_until.clear()

    def flush(self) -> None:
        """Redis loses everything."""
        self.forget_attempts()
        self.paused_until = self.probing_until = self.half_open_until = None
