"""Rate limits of the whole application: how many calls are answered in a time.

fixed    `calls` in each window of `seconds`; windows follow each other
sliding  `calls` in any `seconds`
bucket   `calls` at once, and `calls` in `seconds` in the long run
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

HONEST: Final = "honest"
"""The Retry-After that says how long it takes until the next call is answered."""


class Limit(Protocol):
    """One kind of limit. Times are in seconds, and never go back."""

    def take(self, now: float) -> float:
        """0 if this call is answered, or the seconds until the next one would be."""


class FixedWindow:
    """So many calls in each window."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._window, self._taken = -1, 0

    def take(self, now: float) -> float:
        """See `Limit`."""
        window = int(now // self._seconds)
        if window != self._window:
            self._window, self._taken = window, 0
        if self._taken < self._calls:
            self._taken += 1
            return 0.0
        return (window + 1) * self._seconds - now


class SlidingWindow:
    """So many calls in any time of this length."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._taken: deque[float] = deque()

    def take(self, now: float) -> float:
        """See `Limit`."""
        while self._taken and self._taken[0] <= now - self._seconds:
            self._taken.popleft()
        if len(self._taken) < self._calls:
            self._taken.append(now)
            return 0.0
        return self._taken[0] + self._seconds - now


class TokenBucket:
    """A bucket of so many calls, which is refilled within this time."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._rate = calls, calls / seconds
        self._left, self._looked_at = float(calls), 0.0

    def take(self, now: float) -> float:
        """See `Limit`."""
        refilled = self._left + max(now - self._looked_at, 0.0) * self._rate
        self._left, self._looked_at = min(refilled, self._calls), now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


KINDS: Mapping[str, Callable[[int, float], Limit]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
    "bucket": TokenBucket,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call beyond a limit, and the Retry-After of its answer."""

    retry_after: str | None


class Limiter:
    """A limit that is in force since it was programmed."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """The parameters are those of the fault."""
        self._limit = KINDS[parameters["kind"]](parameters["calls"], parameters["seconds"])
        self._retry_after: str | None = parameters["retry_after"]
        self._began = time.monotonic()

    def refusal(self) -> Refusal | None:
        """Count a call; None if it is answered."""
        wait = self._limit.take(time.monotonic() - self._began)
        if not wait:
            return None
        if self._retry_after != HONEST:
            return Refusal(self._retry_after)
        # Whole seconds, as Spotify sends them, after which a call is answered.
        return Refusal(str(max(1, math.ceil(wait))))
