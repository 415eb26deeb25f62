"""The Web API's rate limit: until when nobody of this application may call.

Spotify limits the application and not the user, and a call in spite of Retry-After
makes the wait longer. So one 429 lets every call of every process fail fast until then.
The pause is a key in Redis with a time limit. A process looks at it once a second, and
while Redis is away it knows of its own 429 only. Nobody ever sleeps.
"""

import logging
import time

import redis

from spotify_auth import redis_client
from spotify_auth.web_api.errors import RateLimited

logger = logging.getLogger(__name__)

WITHOUT_RETRY_AFTER_SECONDS = 30.0
SHORTEST_SECONDS = 1.0
"""Spotify has been seen to send a Retry-After of 0."""
LONGEST_SECONDS = 86_400.0
"""The longest that has been seen; one that is longer is a fault."""

LOOK_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 30.0
"""After a Redis timeout, ask again only every 30 s, so that not every request waits for it."""

_KEY = "spotify_auth:web_api:pause"

# A pause is never shortened by a later, shorter one. 1 if it began or grew.
_START = """
if redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
"""


class _Memory:
    """What this process knows. Times by `time.monotonic()`; a torn update costs a call."""

    until = 0.0
    look_at = 0.0


_memory = _Memory()


def check() -> None:
    """Raise RateLimited while the pause lasts."""
    if time.monotonic() >= _memory.look_at:
        _look()
    left = _memory.until - time.monotonic()
    if left > 0:
        raise RateLimited(retry_after=left)


def start(seconds: float | None) -> float:
    """Begin a pause after a 429; how long it is. None stands for no usable Retry-After."""
    if seconds is None:
        seconds = WITHOUT_RETRY_AFTER_SECONDS
    seconds = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
    now = time.monotonic()
    _memory.until = max(_memory.until, now + seconds)
    try:
        if redis_client.run(_START, keys=[_KEY], args=[int(seconds * 1000)]):
            logger.warning("web_api_paused seconds=%.0f", seconds)
    except redis.RedisError as error:
        _memory.look_at = now + LOOK_AGAIN_SECONDS
        logger.warning("web_api_pause_not_shared reason=%s", type(error).__name__)
    return seconds


def _look() -> None:
    """Take over what Redis says; while it does not answer, what is known stands."""
    # First, so that no other thread of this process asks as well.
    _memory.look_at = time.monotonic() + LOOK_SECONDS
    try:
        milliseconds = int(redis_client.client().pttl(_KEY))
    except redis.RedisError as error:
        _memory.look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        logger.warning("web_api_pause_unknown reason=%s", type(error).__name__)
        return
    _memory.until = time.monotonic() + max(milliseconds, 0) / 1000
