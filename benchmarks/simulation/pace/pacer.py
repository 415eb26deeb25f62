"""What the workers keep to: the service's own rule, with a model of its permits."""

from collections import defaultdict, deque

from benchmarks.simulation.pace.scenario import Pacing
from spotify_auth import pace_rule
from spotify_auth.pace_rule import Carried, Pace

LOOK_SECONDS = 5
"""How often the pace is looked at while lanes work."""
BURST_SECONDS = 0.2
"""Permits of so much time are saved up, when nobody took them in time."""


class Pacer:
    """Permits of all workers together, for a pace that is known, or learned, or none."""

    def __init__(self, pacing: Pacing) -> None:
        self.pace = Pace()
        self._pacing = pacing
        self._permits, self._at = 0.0, 0.0
        self._begun: defaultdict[int, int] = defaultdict(int)
        self._seconds: deque[int] = deque()
        self._waited = False
        self._look_at = 0.0

    @property
    def rate(self) -> float | None:
        """Exchanges a second; None for as many as there are lanes."""
        return self.pace.rate

    def is_told(self, limit: float) -> None:
        """What only an oracle hears."""
        if self._pacing is Pacing.ORACLE:
            # Two calls less in a window: the steps of the simulation are not even.
            window = pace_rule.WINDOW_SECONDS
            self.pace = Pace(rate=(int(limit * window) - 2) / window)

    def permits(self, now: float, wanted: int) -> int:
        """How many of the exchanges that lanes would begin may begin."""
        if self.rate is None:
            return wanted
        most = max(self.rate * BURST_SECONDS, 1.0)
        self._permits = min(self._permits + (now - self._at) * self.rate, most)
        self._at = now
        given = min(wanted, int(self._permits))
        self._permits -= given
        self._waited |= given < wanted
        return given

    def begin(self, now: float, calls: int) -> None:
        """Count what begins."""
        second = int(now)
        if second not in self._begun:
            self._seconds.append(second)
            while self._seconds[0] <= second - pace_rule.WINDOW_SECONDS - 5:
                self._begun.pop(self._seconds.popleft(), None)
        self._begun[second] += calls

    def look(self, now: float) -> None:
        """Some seconds later."""
        if self._pacing is Pacing.LEARNED and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self.pace = pace_rule.after_a_while(
                self.pace, now=now, carried=self._carried(now), waited=self._waited
            )
            self._waited = False

    def refused(self, now: float, *, begun_at: float, retry_after: float) -> float:
        """One 429, to an exchange that began then; for how long all pause."""
        if self._pacing is not Pacing.LEARNED:
            return retry_after
        if int(begun_at) in self._begun:
            self._begun[int(begun_at)] -= 1
        self.pace = pace_rule.after_refusal(
            self.pace,
            now=now,
            begun_at=begun_at,
            retry_after=retry_after,
            carried=self._carried(now),
        )
        return pace_rule.pause_after(self.pace, retry_after=retry_after)

    def _carried(self, now: float) -> Carried:
        return Carried.of(self._begun, now=now, refused_at=self.pace.refused_at)
