"""A pause of all token-endpoint traffic, shared by all workers through Redis.

Started when Spotify limits us, refuses our own credentials, answers nobody, or answers
`invalid_grant` to so many that the fault must be its own (`outage`).

When a pause is over, one lane goes first and probes. Its success ends the cool-down;
what started it starts it again. All times are Redis's, in milliseconds in the scripts.
Redis holds no truth: while it is away there is no pause, and work goes on.
"""

import logging
import time
from enum import StrEnum
from uuid import uuid4

import redis

from spotify_auth import redis_client
from spotify_auth.conf import settings
from spotify_auth.schedule import longest_exchange

logger = logging.getLogger(__name__)

CLIENT_REFUSED_SECONDS = 60.0
OUTAGE_SECONDS = 15.0
UNAVAILABLE_SECONDS = 5.0
RATE_LIMITED_SECONDS = 30.0
"""For a 429 without a usable Retry-After."""
LONGEST_SECONDS = 3600.0
BELIEVED_SECONDS = 0.25
"""How long this process believes a GO: less than the shortest pause lasts."""

_KEYS = [f"spotify_auth:cooldown:{name}" for name in ("pause", "half_open", "probe")]
_PAUSE, _HALF_OPEN, _PROBE = _KEYS

# 0: go. 1: go first, as the probe. 2: paused, or somebody else is probing. It may run twice.
_ADMIT = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 2 end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if redis.call('GET', KEYS[3]) == ARGV[2] then return 1 end
return redis.call('SET', KEYS[3], ARGV[2], 'NX', 'PX', ARGV[1]) and 1 or 2
"""
# A pause is never shortened by a later, shorter one. 1 if there was none before.
_START = """
local fresh = redis.call('EXISTS', KEYS[2]) == 0
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
return fresh and 1 or 0
"""


class Reason(StrEnum):
    """Why all refreshing pauses."""

    RATE_LIMITED = "rate_limited"
    CLIENT_REFUSED = "client_refused"
    OUTAGE = "outage"
    UNAVAILABLE = "unavailable"


class Admission(StrEnum):
    """Whether a lane may claim a token now."""

    GO = "go"
    PROBE = "probe"
    """Go, as the only one, to find out whether the cool-down is over."""
    PAUSED = "paused"


_go_until = 0.0


def admit() -> Admission:
    """Ask before each refresh. Without Redis the answer is GO.

    A GO is believed for a quarter of a second, so that a hundred lanes do not ask at each
    token: a pause that another process starts holds that much later.
    """
    global _go_until
    now = time.monotonic()
    if now < _go_until:
        return Admission.GO
    try:
        answer = redis_client.run(_ADMIT, keys=_KEYS, args=[_probe_milliseconds(), str(uuid4())])
    except redis.RedisError as error:
        logger.warning("cooldown_unknown reason=%s", type(error).__name__)
        answer = 0
    admission = (Admission.GO, Admission.PROBE, Admission.PAUSED)[int(answer)]
    if admission is Admission.GO:
        _go_until = now + BELIEVED_SECONDS
    return admission


def start(reason: Reason, *, seconds: float) -> None:
    """Pause all refreshing for this long, an hour at the most."""
    global _go_until
    milliseconds = int(min(max(seconds, 1.0), LONGEST_SECONDS) * 1000)
    try:
        fresh = redis_client.run(_START, keys=_KEYS, args=[milliseconds, reason.value])
    except redis.RedisError as error:
        logger.warning("cooldown_not_shared reason=%s error=%s", reason, type(error).__name__)
        return
    _go_until = 0.0
    # Our own credentials, or an outage: nobody is kept fresh until somebody looks.
    level = logging.WARNING if reason is Reason.RATE_LIMITED else logging.ERROR
    state = "cooldown_on" if fresh else "cooldown_goes_on"
    logger.log(level, "%s reason=%s seconds=%.0f", state, reason, milliseconds / 1000)


def reason() -> str:
    """Why all refreshing pauses, for a page that waits for it; blank if it does not.

    Also blank without Redis, after a second at the most.
    """
    try:
        value = redis_client.client().get(_HALF_OPEN)
    except redis.RedisError as error:
        logger.warning("cooldown_unknown reason=%s", type(error).__name__)
        return ""
    return value.decode() if isinstance(value, bytes) else ""


def end() -> None:
    """A probe succeeded: everybody may go."""
    try:
        redis_client.client().delete(_HALF_OPEN, _PROBE)
    except redis.RedisError as error:
        logger.warning("cooldown_not_ended reason=%s", type(error).__name__)
        return
    logger.info("cooldown_off")


def another_may_probe() -> None:
    """A probe told nothing: let the next lane try."""
    try:
        redis_client.client().delete(_PROBE)
    except redis.RedisError as error:
        logger.warning("probe_not_passed_on reason=%s", type(error).__name__)


def _probe_milliseconds() -> int:
    # A probe that was killed frees its place when its exchange must have ended.
    return int(longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS) * 1000)
