"""What all workers do at this moment, as Redis knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spotify_auth import cooldown, pace, read_outcomes, redis_client

IN_FLIGHT: Final = "spotify_auth:in_flight"
"""The lanes that are asking, each with the moment at which it must have ended or died."""
MASS_REFUSAL: Final = "spotify_auth:mass_refusal"
"""There for a minute after a refusal that was not believed, because others were refused too."""
WEB_API_PACE: Final = "spotify_auth:web_api:pace"
"""What `web_api.pace` has learned, with `rate` in calls a second once there is one."""

_FELT_MILLISECONDS: Final = 60_000

_LOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {redis.call('ZCOUNT', KEYS[1], now, '+inf'), redis.call('GET', KEYS[2]) or '',
        redis.call('PTTL', KEYS[3]), redis.call('EXISTS', KEYS[4]), redis.call('HGETALL', KEYS[5]),
        redis.call('HGET', KEYS[6], 'interval') or '0',
        now - (redis.call('HGET', KEYS[6], 'waited_at') or 0) * 1000,
        redis.call('HGET', KEYS[7], 'rate') or ''}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What Redis knows. Times in seconds."""

    lanes: int
    """Lanes that are asking the token endpoint, in all workers."""
    cooldown: str
    """Why all refreshing pauses, a `cooldown.Reason`; blank if it does not."""
    cooldown_left: float
    """0 if nobody pauses, and while a probe finds out whether the pause is over."""
    mass_refusal: bool
    """Within the last minute a refusal was not believed, because too many others were refused."""
    pace: float
    """How many exchanges a second all allow themselves; infinite before any 429."""
    pace_is_felt: bool
    """Within the last minute a lane had to wait for its turn."""
    web_api_pace: float
    """How many calls of the Web API a second all allow themselves; infinite before any 429."""
    reads: Mapping[str, int]
    """What readers got, by `read_outcomes.OUTCOMES`, since Redis began to count."""


def look() -> Traffic:
    """One question. Raises redis.RedisError, within a second or two if Redis hangs."""
    pause, half_open, _probe = cooldown.KEYS
    lanes, reason, left, refused, reads, interval, waited, calls = redis_client.run(
        _LOOK,
        keys=[
            IN_FLIGHT,
            half_open,
            pause,
            MASS_REFUSAL,
            read_outcomes.KEY,
            pace.KEYS[0],
            WEB_API_PACE,
        ],
    )
    milliseconds = float(interval)
    return Traffic(
        lanes=lanes,
        cooldown=reason.decode(),
        cooldown_left=max(int(left), 0) / 1000,
        mass_refusal=bool(refused),
        pace=1000 / milliseconds if milliseconds else float("inf"),
        # Ahead of a clock that went back it tells nothing.
        pace_is_felt=0 <= int(waited) < _FELT_MILLISECONDS,
        web_api_pace=float(calls) if calls else float("inf"),
        reads={
            outcome.decode(): int(count)
            for outcome, count in zip(reads[::2], reads[1::2], strict=True)
        },
    )
