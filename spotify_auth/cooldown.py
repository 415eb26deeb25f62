"""A pause of all token-endpoint traffic, shared by all workers through Redis.

A half-open circuit breaker (https://martinfowler.com/bliki/CircuitBreaker.html). It opens
when Spotify limits us, refuses our own credentials, or answers nobody (`refresh.decisions`).
When the pause is over it is half-open: one lane goes first and probes. A grant closes the
cool-down, and what started it starts it again. Without a probe it closes by itself.

After a 429 nobody probes: Spotify has said when it is over, and from then on all keep a `pace`.

All times are Redis's, in milliseconds in the scripts. Redis holds no truth: while it is
away there is no pause, and work goes on.
"""

import logging
from enum import StrEnum
from typing import NamedTuple

import redis

from spotify_auth import redis_client

logger = logging.getLogger(__name__)

CLIENT_REFUSED_SECONDS = 60.0
UNAVAILABLE_SECONDS = 5.0
RATE_LIMITED_SECONDS = 30.0
"""For a 429 without a usable Retry-After."""
SHORT_SECONDS = 5.0
"""A lane waits for the end of a pause that is no longer, if Spotify has limited us."""
LONGEST_SECONDS = 3600.0
_HALF_OPEN_MILLISECONDS = 60_000
"""How long after a pause only a probe may ask. Without one, since every token that is due has a
failure of its own, all may ask again then."""

KEYS = [f"spotify_auth:cooldown:{name}" for name in ("pause", "half_open", "probe")]
_PAUSE, _HALF_OPEN, _PROBE = KEYS

ADMIT = f"""
local function admit(pause, half_open, probe, lane, milliseconds)
    if redis.call('EXISTS', pause) == 1 then return 'paused' end
    if redis.call('EXISTS', half_open) == 0 then return 'go' end
    if redis.call('GET', probe) == lane then return 'probe' end
    return redis.call('SET', probe, lane, 'NX', 'PX', milliseconds) and 'probe' or 'paused'
end
-- How many ms a lane that is paused should wait for; 0: it should end.
local function short_pause(pause)
    if redis.call('GET', pause) ~= 'rate_limited' then return 0 end
    local left = redis.call('PTTL', pause)
    return left <= {SHORT_SECONDS * 1000:.0f} and left or 0
end
"""
"""Lua functions for the script that asks before each exchange (`refresh.attempts`). Its
answers are those of `Admission`. The lane that probes is answered `probe` again."""

# A pause is never shortened by a later, shorter one. 1 if there was none before.
_START = """
local fresh = redis.call('EXISTS', KEYS[2]) == 0
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', redis.call('PTTL', KEYS[1]) + ARGV[3])
redis.call('DEL', KEYS[3])
return fresh and 1 or 0
"""
# Nobody but the command that restores ends its own pause.
_LIFT = """
local reason = redis.call('GET', KEYS[2])
if reason and reason ~= ARGV[1] then redis.call('DEL', unpack(KEYS)) end
return reason
"""
_STOP = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', unpack(KEYS)) end"
_RELEASE_PROBE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Reason(StrEnum):
    """Why all refreshing pauses."""

    RATE_LIMITED = "rate_limited"
    CLIENT_REFUSED = "client_refused"
    UNAVAILABLE = "unavailable"
    RESTORING = "restoring"
    """An operator sorts out the tokens of a restored backup."""


class Pause(NamedTuple):
    """Why all refreshing must pause, and for how many seconds."""

    reason: Reason
    seconds: float


class Admission(StrEnum):
    """Whether a lane may ask Spotify now."""

    GO = "go"
    PROBE = "probe"
    """Go, as the only lane, to find out whether the cool-down is over."""
    PAUSED = "paused"
    WAIT = "wait"
    """The pace has no permit left at this moment."""
    FULL = "full"
    """As many lanes as REFRESH_LANES allows are asking already."""


def start(reason: Reason, *, seconds: float) -> bool:
    """Pause all refreshing for `seconds`, an hour at most; whether there was no pause before."""
    try:
        return start_or_raise(reason, seconds=seconds)
    except redis.RedisError as error:
        logger.warning("cooldown_not_shared reason=%s error=%s", reason, type(error).__name__)
        return False


def start_or_raise(reason: Reason, *, seconds: float) -> bool:
    """The same for a caller that cannot go on without it. Raises redis.RedisError."""
    milliseconds = int(min(max(seconds, 1.0), LONGEST_SECONDS) * 1000)
    half_open = 0 if reason is Reason.RATE_LIMITED else _HALF_OPEN_MILLISECONDS
    fresh = redis_client.run(_START, keys=KEYS, args=[milliseconds, reason.value, half_open])
    # Our own credentials, or an outage: no token is kept fresh until an operator looks.
    expected = reason in {Reason.RATE_LIMITED, Reason.RESTORING}
    level = logging.WARNING if expected else logging.ERROR
    if fresh:
        logger.log(level, "cooldown_on reason=%s seconds=%.0f", reason, milliseconds / 1000)
    else:
        logger.log(level, "cooldown_extended reason=%s seconds=%.0f", reason, milliseconds / 1000)
    return bool(fresh)


def seconds_after_429(retry_after: float | None) -> float:
    """For how long a 429 asks everybody to pause. None: it did not say so usably."""
    return RATE_LIMITED_SECONDS if retry_after is None else retry_after


def stop(reason: Reason) -> None:
    """End a pause before its time, if this is why it began. Raises redis.RedisError."""
    redis_client.run(_STOP, keys=KEYS, args=[reason.value])
    logger.info("cooldown_off")


def lift() -> str:
    """End whatever cool-down there is, but for RESTORING; which one it was, blank if none.

    That is a Reason, unless a worker of another version has begun it. Without a probe: every lane
    may ask. Raises redis.RedisError.
    """
    found = redis_client.run(_LIFT, keys=KEYS, args=[Reason.RESTORING.value])
    return found.decode() if found else ""


def reason() -> str:
    """Why all refreshing pauses, for a page that waits for it; blank if it does not.

    Also blank without Redis, after a second at the most.
    """
    try:
        return reason_or_raise()
    except redis.RedisError as error:
        logger.warning("cooldown_unknown reason=%s", type(error).__name__)
        return ""


def reason_or_raise() -> str:
    """The same for a caller to whom a lost Redis is no answer. Raises redis.RedisError."""
    value = redis_client.client().get(_HALF_OPEN)
    return value.decode() if isinstance(value, bytes) else ""


def left() -> float:
    """For how many seconds nobody may ask the token endpoint; 0 if there is no pause.

    Also 0 without Redis, after a second at most.
    """
    try:
        milliseconds = redis_client.client().pttl(_PAUSE)
    except redis.RedisError as error:
        logger.warning("cooldown_unknown reason=%s", type(error).__name__)
        return 0.0
    return max(int(milliseconds), 0) / 1000


def close() -> bool:
    """A probe was granted: every lane may go. False without Redis."""
    try:
        redis_client.client().delete(_HALF_OPEN, _PROBE)
    except redis.RedisError as error:
        logger.warning("cooldown_not_ended reason=%s", type(error).__name__)
        return False
    logger.info("cooldown_off")
    return True


def release_probe(lane: str) -> None:
    """This lane's probe told nothing: let the next lane try."""
    try:
        redis_client.run(_RELEASE_PROBE, keys=[_PROBE], args=[lane])
    except redis.RedisError as error:
        logger.warning("probe_release_failed reason=%s", type(error).__name__)
