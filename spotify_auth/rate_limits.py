"""How often something may happen, counted in Redis for all processes together.

The generic cell rate algorithm (GCRA): a limit of 30 in 60 s admits 30 at once, and then one
every 2 s. A key holds one number, the time at which all that was admitted is paid off, and
ends with it. Redis's clock is the only one.

Keys hold a keyed digest of whom they count, never an address or a user. While Redis is away
nothing is limited, and nobody waits for it (`redis_health`).
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from spotify_auth import redis_client

logger = logging.getLogger(__name__)

LOG_AGAIN_SECONDS = 60.0
"""A process logs no more often than this that a limit is reached."""

# All limits admit, or nothing is counted. The number of the limit that lasts longest, and its ms.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local refused, wait, paid = 0, 0, {}
for place, key in ipairs(KEYS) do
    local interval, most, cost = ARGV[place * 3 - 2], ARGV[place * 3 - 1], ARGV[place * 3]
    -- No more is owed than a full limit: beyond it lies only what a clock wrote that went back.
    local owed = math.min(tonumber(redis.call('GET', key) or 0), now + interval * most)
    paid[place] = math.max(owed, now) + interval * cost
    local over = paid[place] - now - interval * most
    if over > wait then refused, wait = place, over end
end
if refused > 0 then return {refused, math.ceil(wait)} end
for place, key in ipairs(KEYS) do
    local lasts = math.ceil(paid[place] - now)
    redis.call('SET', key, string.format('%.3f', paid[place]), 'PX', lasts)
end
return {0, 0}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """Something that counts towards a limit of `most` in `seconds`; a `most` of 0 is no limit."""

    name: str
    """Which limit, in a word for the log."""
    who: str
    """Whom it counts: a user's key or an address. Blank: everybody together."""
    most: int
    seconds: float
    cost: int = 1
    """How many it counts for."""


class Limited(Exception):
    """A limit is reached. `retry_after` is in seconds."""

    def __init__(self, name: str, *, retry_after: float) -> None:
        super().__init__(name)
        self.name = name
        self.retry_after = retry_after


class _Memory:
    """When a limit may be logged again, by `time.monotonic()`."""

    def __init__(self) -> None:
        self.log_at: dict[str, float] = {}


_memory = _Memory()


def take(*uses: Use) -> None:
    """Count these uses, in one question to Redis. Raises Limited, and counts none of them then."""
    limits = [use for use in uses if use.most]
    if not limits:
        return
    try:
        refused, milliseconds = _ask(limits)
    except redis.RedisError as error:
        logger.warning("rate_limits_off reason=%s", type(error).__name__)
        return
    if refused:
        limit = limits[refused - 1]
        _log(limit)
        raise Limited(limit.name, retry_after=milliseconds / 1000)


def _ask(limits: Sequence[Use]) -> tuple[int, int]:
    args: list[float] = []
    for use in limits:
        # More at once than the limit would never be admitted.
        cost = min(use.cost, use.most)
        args += [use.seconds * 1000 / use.most, use.most, cost]
    refused, milliseconds = redis_client.run(_TAKE, keys=[_key(use) for use in limits], args=args)
    return int(refused), int(milliseconds)


def _key(use: Use) -> str:
    digest = redis_client.keyed_digest("spotify_auth.rate_limits", use.who)
    return f"spotify_auth:limit:{use.name}:{digest}"


def _log(limit: Use) -> None:
    now = time.monotonic()
    if now >= _memory.log_at.get(limit.name, 0.0):
        _memory.log_at[limit.name] = now + LOG_AGAIN_SECONDS
        logger.warning(
            "rate_limit_reached limit=%s most=%s seconds=%.0f",
            limit.name,
            limit.most,
            limit.seconds,
        )
