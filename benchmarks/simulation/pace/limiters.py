"""How an endpoint limits calls: three kinds, with what they say in Retry-After."""

from collections import deque
from typing import Protocol

WINDOW_SECONDS = 30.0


class Limiter(Protocol):
    """Lets `per_second` calls through on average; that can change while it runs."""

    per_second: float

    def accept(self, now: float, calls: int) -> int:
        """How many of the calls that arrive at `now` are let through."""

    def free_after(self, now: float) -> float:
        """Seconds from a refusal until another call would be let through."""


class FixedWindow:
    """Counts in windows of 30 s, of which the first begins `phase` seconds before 0."""

    def __init__(self, per_second: float, *, phase: float) -> None:
        self.per_second = per_second
        self._phase, self._window, self._used = phase, -1, 0

    def accept(self, now: float, calls: int) -> int:
        """See Limiter."""
        window = int((now + self._phase) // WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used = window, 0
        taken = max(0, min(calls, int(self.per_second * WINDOW_SECONDS) - self._used))
        self._used += taken
        return taken

    def free_after(self, now: float) -> float:
        """See Limiter."""
        return WINDOW_SECONDS - (now + self._phase) % WINDOW_SECONDS


class SlidingWindow:
    """Counts the calls of the last 30 s."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._calls: deque[tuple[float, int]] = deque()
        self._used = 0

    def accept(self, now: float, calls: int) -> int:
        """See Limiter."""
        while self._calls and self._calls[0][0] <= now - WINDOW_SECONDS:
            self._used -= self._calls.popleft()[1]
        taken = max(0, min(calls, int(self.per_second * WINDOW_SECONDS) - self._used))
        if taken:
            self._calls.append((now, taken))
            self._used += taken
        return taken

    def free_after(self, now: float) -> float:
        """See Limiter."""
        return self._calls[0][0] + WINDOW_SECONDS - now if self._calls else 0.0


class TokenBucket:
    """Fills at `per_second`, and holds what 30 s bring."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._level, self._at = per_second * WINDOW_SECONDS, 0.0

    def accept(self, now: float, calls: int) -> int:
        """See Limiter."""
        most = self.per_second * WINDOW_SECONDS
        self._level = min(most, self._level + (now - self._at) * self.per_second)
        self._at = now
        taken = min(calls, int(self._level))
        self._level -= taken
        return taken

    def free_after(self, now: float) -> float:
        """See Limiter."""
        return max(0.0, 1 - self._level) / self.per_second
