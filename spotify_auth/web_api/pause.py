"""The Web API's rate limits: until when which calls of this application may not be made.

A call in spite of Retry-After makes the wait longer, so a 429 lets calls fail fast until then.
Some endpoints have limits of their own, and one that Spotify has given up may answer
429 for ever. So a 429 pauses its endpoint; all calls pause while two endpoints say so, or
when Spotify says that the application's quota is spent.

Every pause ends by itself: at its Retry-After, within LONGEST_SECONDS; that of all which two
endpoints caused within LONGEST_TOGETHER_SECONDS, since both may be limits of their own.
What the application as a whole was refused for also teaches a pace (`pace`): two endpoints at once,
and not the quota. A limit of one endpoint must not slow the others down.

Redis holds the pauses with their ends. A process looks at them once a second, and while
Redis is away it knows of its own 429s only. Nobody ever sleeps.
"""

import logging
import time

import redis

from spotify_auth import redis_client
from spotify_auth.web_api import pace
from spotify_auth.web_api.errors import RateLimited

logger = logging.getLogger(__name__)

WITHOUT_RETRY_AFTER_SECONDS = 30.0
QUOTA_WITHOUT_RETRY_AFTER_SECONDS = 900.0
SHORTEST_SECONDS = 1.0
"""Spotify has been seen to send a Retry-After of 0."""
LONGEST_SECONDS = 86_400.0
"""The longest that has been seen; one that is longer is a fault."""
LONGEST_TOGETHER_SECONDS = 900.0
"""After this, other endpoints than the two that are limited are tried again."""

LOOK_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 30.0
"""After a Redis timeout, ask again only every 30 s, so that not every request waits for it."""

_ALL = "spotify_auth:web_api:pause"
_ENDPOINTS = "spotify_auth:web_api:paused_endpoints"

# A pause is never shortened by a later, shorter one. 1 if it began or grew.
_PAUSE_ALL = """
if redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
"""
# Each endpoint with the end of its pause. How long the longest pause of another lasts, in ms.
_PAUSE_ENDPOINT = f"""
{redis_client.NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local began = known < now + ARGV[2] and 1 or 0
if began == 1 then redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1]) end
local longest = redis.call('ZREVRANGE', KEYS[1], 0, 1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[1], longest[2] - now)
local other = longest[2]
if longest[1] == ARGV[1] then other = longest[4] or now end
return {{began, other - now}}
"""
# How long all pause; each endpoint and how long it does, in ms; the process's share of the pace.
_LOOK = f"""
{redis_client.NOW}
{pace.SHARE}
local paused = redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf', 'WITHSCORES')
for index = 2, #paused, 2 do paused[index] = paused[index] - now end
return {{redis.call('PTTL', KEYS[1]), paused, share(KEYS[3], KEYS[4], now / 1000)}}
"""


class _Memory:
    """What this process knows. Times by `time.monotonic()`; a torn update costs a call."""

    def __init__(self) -> None:
        self.all_until = 0.0
        self.endpoints: dict[str, float] = {}
        self.look_at = 0.0

    def pause(self, endpoint: str, seconds: float) -> float:
        """Note a pause; for how many seconds the longest one of another endpoint lasts."""
        now = time.monotonic()
        paused = {name: until for name, until in self.endpoints.items() if until > now}
        others = [until - now for name, until in paused.items() if name != endpoint]
        paused[endpoint] = max(paused.get(endpoint, 0.0), now + seconds)
        self.endpoints = paused
        return max(others, default=0.0)


_memory = _Memory()


def forget() -> None:
    """Know nothing, as a new process does: for tests."""
    global _memory
    _memory = _Memory()


def check(endpoint: str) -> None:
    """Count a call that is about to be made.

    Raises RateLimited while this endpoint, or all, pause, and beyond the pace.
    """
    if time.monotonic() >= _memory.look_at:
        _look()
    until = max(_memory.all_until, _memory.endpoints.get(endpoint, 0.0))
    left = until - time.monotonic()
    if left > 0:
        raise RateLimited(retry_after=left)
    pace.take()


def start(
    endpoint: str, seconds: float | None, *, quota: bool = False, began: float | None = None
) -> float:
    """Begin a pause after a 429; how long that of the endpoint is.

    `seconds` is Retry-After, or None if that is not usable. `quota`: the application's quota
    is spent, and so all calls pause. `began`: when the call did, by `time.monotonic()`.
    """
    if seconds is None:
        seconds = QUOTA_WITHOUT_RETRY_AFTER_SECONDS if quota else WITHOUT_RETRY_AFTER_SECONDS
    seconds = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
    began = time.monotonic() if began is None else began
    pace.uncount(began=began)
    others = _memory.pause(endpoint, seconds)
    try:
        others = max(others, _share(endpoint, seconds))
        together = _together(seconds, others=others, quota=quota)
        if together and redis_client.run(_PAUSE_ALL, keys=[_ALL], args=[int(together * 1000)]):
            reason = "quota_exceeded" if quota else "two_endpoints"
            logger.warning("web_api_paused_for_all seconds=%.0f reason=%s", together, reason)
    except redis.RedisError as error:
        together = _together(seconds, others=others, quota=quota)
        _memory.look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        logger.warning("web_api_pause_not_shared reason=%s", type(error).__name__)
    _memory.all_until = max(_memory.all_until, time.monotonic() + together)
    if together and not quota:
        pace.was_refused(began=began, retry_after=seconds)
    return seconds


def _share(endpoint: str, seconds: float) -> float:
    """Tell all processes; for how many seconds the longest pause of another endpoint lasts."""
    began, others = redis_client.run(
        _PAUSE_ENDPOINT, keys=[_ENDPOINTS], args=[endpoint, int(seconds * 1000)]
    )
    if began:
        logger.warning("web_api_paused endpoint=%s seconds=%.0f", endpoint, seconds)
    return int(others) / 1000


def _together(seconds: float, *, others: float, quota: bool) -> float:
    """How long all pause: as long as two endpoints say so, or as the quota is spent."""
    return seconds if quota else min(seconds, others, LONGEST_TOGETHER_SECONDS)


def _look() -> None:
    """Take over what Redis says; while it does not answer, what is known stands."""
    # First, so that no other thread of this process asks as well.
    _memory.look_at = time.monotonic() + LOOK_SECONDS
    try:
        left_of_all, paused, share = redis_client.run(
            _LOOK, keys=[_ALL, _ENDPOINTS, *pace.KEYS], args=pace.question()
        )
        pace.answered(*share)
    except redis.RedisError as error:
        _memory.look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        pace.by_itself()
        logger.warning("web_api_pause_unknown reason=%s", type(error).__name__)
        return
    now = time.monotonic()
    _memory.all_until = now + max(int(left_of_all), 0) / 1000
    names = [name.decode() for name in paused[::2]]
    ends = [now + int(left) / 1000 for left in paused[1::2]]
    _memory.endpoints = dict(zip(names, ends, strict=True))
