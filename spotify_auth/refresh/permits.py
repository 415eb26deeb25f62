"""The permits of one lane: the pace lets it ask now, or it knows when it may."""

import math
import time
from threading import Event

from spotify_auth import pace
from spotify_auth.refresh.process import process


class Permit:
    """What a lane knows of its next permit.

    A lane of a sweep waits for it before it claims a token, so that it then takes the most urgent
    one. A lane of one user does not wait: if it may not ask now, another lane will.
    """

    def __init__(self, *, may_wait: bool) -> None:
        self.may_wait = may_wait
        self.kept = 0.0
        """The permit that is kept for it: a moment in ms by Redis's clock. 0: there is none."""
        self._good_at = 0.0
        """The same by `time.monotonic()`."""
        self._taken_alone = False
        self._pause_ends = False
        self._look = 0
        self._lesson: float | None = None
        self._was_away = False

    @property
    def comes(self) -> bool:
        """Whether one will come, or a pause will end, that is worth waiting for."""
        return self.kept > 0 or self._taken_alone or self._pause_ends

    def wait(self, stopping: Event) -> None:
        """Wait until it is good, or until the process stops: a few seconds at most."""
        seconds = self._good_at - time.monotonic()
        if seconds > 0:
            stopping.wait(seconds)

    def told(self, paced: bytes, *, goes: bool) -> None:
        """Redis has answered: `paced` is what `pace.PERMIT` says."""
        self._answered()
        shared, share = None, None
        if paced:
            now, self.kept, interval, look, lanes = map(float, paced.split())
            self._look = max(self._look, int(look))
            self._good_at = time.monotonic() + (self.kept - now) / 1000
            shared = 1000 / interval if interval else None
            share = min(max(process.running.count, 1) / max(lanes, 1), 1)
        if goes:
            process.own_pace.count()
        if self._look != pace.LOST:
            process.own_pace.told(shared, share=share)

    def refused(self, turned_away: bytes) -> None:
        """Redis has answered that this lane may not go.

        And for how many milliseconds it should wait, 0 to end, and what lies between two permits.
        """
        milliseconds, interval = map(float, turned_away.split())
        self._answered()
        if interval:
            process.own_pace.told(1000 / interval, share=None)
        self._pause_ends = self.may_wait and milliseconds > 0
        self._good_at = time.monotonic() + milliseconds / 1000

    def _answered(self) -> None:
        self.kept, self._taken_alone, self._pause_ends = 0.0, False, False
        self._was_away |= process.own_pace.is_alone
        self._lesson = process.own_pace.back() or self._lesson

    def taken_alone(self) -> bool:
        """Redis is away: take a permit of this process; whether the lane may go now."""
        now, self.kept, self._pause_ends = time.monotonic(), 0.0, False
        if self._taken_alone and now >= self._good_at:
            self._taken_alone = False
        else:
            wait = process.own_pace.wait(
                longest=pace.LONGEST_WAIT_SECONDS if self.may_wait else 0.0
            )
            if wait:
                self._taken_alone, self._good_at = not math.isinf(wait), now + wait
                return False
        process.own_pace.count()
        return True

    def look(self) -> None:
        """Let the rule look at what was carried, if it is this lane's turn.

        Not while it holds a row lock. What this process knows and Redis may not goes with it.
        """
        if not (self._look or self._was_away):
            return
        rates = [self._lesson]
        if self._look == pace.LOST:
            rates.append(process.own_pace.remembered)
        known = [rate for rate in rates if rate is not None]
        was_away = self._was_away or bool(known)
        self._look, self._lesson, self._was_away = 0, None, False
        pace.look(remembered=min(known, default=None), was_away=was_away)
