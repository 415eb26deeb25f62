"""What a worker allows itself while Redis is away: its share of the pace that it knew last.

Its share is that of its lanes among all. A 429 teaches it by the same rule, from what it carried
itself. When Redis is back, all agree again: the stricter of both holds (`pace.look`).
"""

import threading
import time
from collections import Counter
from typing import Final

from spotify_auth import cooldown, pace, pace_rule
from spotify_auth.pace_rule import Carried, Pace

_KEPT_SECONDS: Final = pace_rule.WINDOW_SECONDS + 5


class OwnPace:
    """The pace of one process. Times by `time.monotonic()`; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: float | None = None
        """The rate of all, as Redis last said."""
        self._share: float | None = None
        """Of the lanes of all, as Redis last said; None: this process has never heard of them."""
        self._since = time.monotonic()
        """Exchanges are counted from then on."""
        self._alone: Pace | None = None
        """What this process knows by itself; None while Redis answers."""
        self._learned = False
        """Whether a 429 has taught it."""
        self._counts: Counter[int] = Counter()
        self._next = 0.0
        self._pause_until = 0.0
        self._waited = False

    @property
    def is_alone(self) -> bool:
        """Whether Redis did not answer the last time."""
        return self._alone is not None

    def told(self, rate: float | None, *, share: float | None) -> None:
        """Redis says what holds for all, and which share of the lanes is here; None: not now."""
        self._shared = rate
        if share is not None:
            self._share = share

    def count(self) -> None:
        """An exchange begins."""
        second = int(time.monotonic())
        with self._lock:
            self._counts[second] += 1
            if len(self._counts) > 2 * pace_rule.WINDOW_SECONDS:
                for old in [old for old in self._counts if old < second - _KEPT_SECONDS]:
                    del self._counts[old]

    def wait(self, *, longest: float) -> float:
        """Take a permit while Redis is away; the seconds until it is good.

        Infinity if there is none within `longest`: nothing is taken then.
        """
        with self._lock:
            now = time.monotonic()
            alone = self._looked(now)
            if now < self._pause_until:
                return float("inf")
            if alone.rate is None:
                return 0.0
            free = max(self._next, now - pace.BURST_SECONDS)
            if free > now:
                self._waited = True
            if free > now + longest:
                return float("inf")
            self._next = free + 1 / alone.rate
            return max(free - now, 0.0)

    def refused(self, *, began: float, retry_after: float) -> None:
        """A 429 that could not be shared, to an exchange that began so many seconds ago."""
        with self._lock:
            now = time.monotonic()
            alone = self._looked(now)
            self._counts[int(now - began)] -= 1
            self._alone = pace_rule.after_refusal(
                alone,
                now=now,
                begun_at=now - began,
                retry_after=retry_after,
                carried=self._carried(now, alone),
            )
            self._learned = True
            pause = pace_rule.pause_after(self._alone, retry_after=retry_after)
            pause = min(pause, cooldown.LONGEST_SECONDS)
            self._pause_until = max(self._pause_until, now + pause)

    def back(self) -> float | None:
        """Redis answers again; the rate for all that this process learned alone, None if none.

        Nor does it know one for all without its share: what it carried alone is too little.
        """
        if self._alone is None:
            return None
        with self._lock:
            alone, self._alone = self._alone, None
            learned, self._learned = self._learned, False
            self._pause_until = 0.0
        return self._of_all(alone) if learned else None

    @property
    def remembered(self) -> float | None:
        """The rate of all, as Redis last said."""
        return self._shared

    def remembered_interval(self) -> float:
        """Milliseconds between two exchanges of all, for a Redis that has lost its memory.

        0 if this process knows of no pace.
        """
        with self._lock:
            alone = self._of_all(self._alone) if self._alone and self._learned else None
        rates = [rate for rate in (self._shared, alone) if rate]
        return 1000 / max(min(rates), pace_rule.LOWEST) if rates else 0.0

    def _of_all(self, alone: Pace) -> float | None:
        return alone.rate / self._share if alone.rate and self._share else None

    def _looked(self, now: float) -> Pace:
        if self._alone is None:
            rate = self._shared * (self._share or 1.0) if self._shared else None
            refused_at = None if rate is None else now - pace_rule.WINDOW_SECONDS
            alone = Pace(rate=rate, refused_at=refused_at, looked_at=now)
            self._alone = pace_rule.counted_anew(alone, now=self._since)
        if now >= self._alone.looked_at + pace.LOOK_SECONDS:
            carried = self._carried(now, self._alone)
            self._alone = pace_rule.after_a_while(
                self._alone, now=now, carried=carried, waited=self._waited
            )
            self._waited = False
        return self._alone

    def _carried(self, now: float, alone: Pace) -> Carried:
        return Carried.of(self._counts, now=now, refused_at=alone.refused_at)
