"""What this process knows of a Redis that is away, so that not every refresh waits for it.

A Redis that hangs, or whose host is gone without a word, costs each caller a time-out. So
after one, nothing is asked for half a minute. A Redis that refuses connections costs nothing
and is always asked: it may be back, with saved grants in it.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 30.0
"""After a time-out nothing is asked for so long. Then one thread asks, and all others once
it has its answer."""
_ONE_QUESTION_SECONDS = 3.0
"""Longer than one thread may take to connect and to ask."""


class StillAway(redis.ConnectionError):
    """Redis is away as before: `redis_away` has said so, whether it was asked again or not."""


class OncePerOutage(logging.Filter):
    """Drop the lines of callers that met a Redis of which `redis_away` has told already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is news."""
        return StillAway.__name__ not in (record.args or ())


class Health:
    """Whether one Redis answers. Threads share it; a torn update costs a time-out."""

    def __init__(self) -> None:
        self._away_because: type[redis.RedisError] | None = None
        self._ask_at = 0.0

    @contextmanager
    def asking(self, *, urgent: bool, reads: bool) -> Iterator[None]:
        """A question to Redis. Raises StillAway, unless `urgent`, for one that is known to be away.

        `reads`: the question is one that a read-only replica would answer as well.
        """
        if self._away_because and not urgent:
            self._take_turn()
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError) as error:
            if self._failed(error) and not urgent:
                raise StillAway(str(error)) from error
            raise
        if self._away_because and not (reads and self._away_because is redis.ReadOnlyError):
            self._away_because = None
            logger.warning("redis_back")

    def forget(self) -> None:
        """Know nothing, as a new process does: for tests."""
        self._away_because = None

    def _take_turn(self) -> None:
        now = time.monotonic()
        if now < self._ask_at:
            raise StillAway("Redis did not answer within its time")
        if self._away_because is redis.TimeoutError:
            self._ask_at = now + _ONE_QUESTION_SECONDS

    def _failed(self, error: redis.RedisError) -> bool:
        """Note a failure; whether Redis was known to be away."""
        known = self._away_because is not None
        self._away_because = type(error)
        hangs = isinstance(error, redis.TimeoutError)
        self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS if hangs else 0.0
        if not known:
            logger.warning("redis_away reason=%s", type(error).__name__)
        return known
