"""The pace of the token endpoint: how many exchanges a second all processes allow themselves.

What is known is in Redis, by Redis's clock: a hash with the fields of `pace_rule.Pace`, and the
exchanges of each of the last seconds. The rule itself is in `pace_rule`. A lane asks for its
permit in the question that it asks before each exchange anyway (`refresh.attempts`), and is told
when its next one comes, so that it waits before it claims a token.

Redis holds no truth: while it is away each worker goes on by itself (`refresh.own_pace`).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import redis

from spotify_auth import pace_rule, redis_client
from spotify_auth.pace_rule import Carried, Pace

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS: Final = 2.0
"""A permit that comes later is not waited for: the lane ends, and a later sweep opens another."""
BURST_SECONDS: Final = 0.1
"""Permits of so much time may be taken at once, when nobody took them in time."""
STALE_SECONDS: Final = 5.0
"""A permit that is not used so long is lost."""
LOOK_SECONDS: Final = 5.0
"""How often the rule looks at what was carried."""
LOST: Final = 2
"""What `PERMIT` says of a Redis that knows nothing at all."""
_REMEMBERED_SECONDS: Final = 60
"""For how long the exchanges of a second are known: longer than the rule's window."""
_KEPT_MILLISECONDS: Final = int(pace_rule.FORGOTTEN_SECONDS + 3600) * 1000
_TRIES: Final = 5

KEYS: Final = ["spotify_auth:pace", "spotify_auth:pace:carried"]

COUNT = f"""
local function count_exchange(carried, now, by)
    local second = math.floor(now / 1000)
    if redis.call('HINCRBY', carried, second, by) ~= by then return end
    -- The first of its second: forget old ones.
    for _, old in ipairs(redis.call('HKEYS', carried)) do
        if tonumber(old) < second - {_REMEMBERED_SECONDS} then redis.call('HDEL', carried, old) end
    end
    redis.call('EXPIRE', carried, {2 * _REMEMBERED_SECONDS})
end
"""
PERMIT = f"""
{COUNT}
-- Whether this lane may go, and what it needs to know, blank for nothing: the time, when its next
-- permit comes (0: none is kept for it), milliseconds between two permits (0: no pace), whether
-- it is its turn to look (LOST: Redis knows nothing at all), and how many lanes there are.
-- `kept` is the permit that was kept for it. `remembered` is the interval that its process knows,
-- 0 for none: it holds at once, or all lanes would go before the first of them has looked.
local function permit(pace, carried, lanes, now, kept, may_wait, is_probe, remembered)
    local known = redis.call('HMGET', pace, 'interval', 'next', 'look_at')
    local interval, free, look = tonumber(known[1] or 0), tonumber(known[2] or 0), 0
    local go, coming = true, 0
    if not known[3] then
        look = {LOST}
        if remembered > interval then
            interval = remembered
            redis.call('HSET', pace, 'interval', interval)
        end
    elseif tonumber(known[3]) <= now or tonumber(known[3]) > now + {LOOK_SECONDS * 2000:.0f} then
        look = 1
        redis.call('HSET', pace, 'look_at', now + {LOOK_SECONDS * 1000:.0f})
    end
    if interval > 0 and not is_probe then
        free = math.max(free, now - {BURST_SECONDS * 1000:.0f})
        -- A clock that went back, as after a failover, keeps nobody waiting.
        if free > now + {STALE_SECONDS * 2000:.0f} then free = now end
        if kept <= now - {STALE_SECONDS * 1000:.0f} or kept > now + 10 then
            go = free <= now
            if go then free = free + interval end
        end
        if may_wait and free > now and free <= now + {LONGEST_WAIT_SECONDS * 1000:.0f} then
            coming, free = free, free + interval
        end
        local next = string.format('%.3f', free)
        if go and coming == 0 then redis.call('HSET', pace, 'next', next)
        else redis.call('HSET', pace, 'next', next, 'waited_at', now / 1000) end
    end
    if go then count_exchange(carried, now, 1) end
    if interval == 0 and look == 0 then return go, '' end
    return go, string.format(
        '%.0f %.3f %.6f %d %d', now, coming, interval, look, redis.call('ZCARD', lanes)
    )
end
"""
# A permit that was kept for a lane that ends is another's.
GIVE_BACK = """
local function give_back(pace)
    local interval = tonumber(redis.call('HGET', pace, 'interval') or 0)
    if interval > 0 then redis.call('HINCRBYFLOAT', pace, 'next', -interval) end
end
"""

# A login waits for nobody, and leaves the lanes one permit less.
_LOGIN = f"""
{COUNT}
{redis_client.NOW}
count_exchange(KEYS[2], now, 1)
local known = redis.call('HMGET', KEYS[1], 'interval', 'next')
local interval = tonumber(known[1] or 0)
if interval > 0 then
    local free = math.max(tonumber(known[2] or 0), now - {BURST_SECONDS * 1000:.0f})
    redis.call('HSET', KEYS[1], 'next', string.format('%.3f', free + interval))
end
"""
# An exchange that began so many ms ago was not carried.
_READ = f"""
{COUNT}
{redis_client.NOW}
if ARGV[1] ~= '' then count_exchange(KEYS[2], now - ARGV[1], -1) end
return {{now, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}}
"""
_WRITE = """
local version = redis.call('HGET', KEYS[1], 'version') or ''
if ARGV[1] ~= 'any' and version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What Redis knows at a moment. Times in seconds, by Redis's clock."""

    now: float
    pace: Pace
    carried: Carried
    waited_at: float
    """When a lane last had to wait for its permit; 0: never."""
    version: str

    @property
    def waits(self) -> bool:
        """Whether tokens had to wait since the rule last looked."""
        return self.waited_at > 0 and self.pace.looked_at <= self.waited_at <= self.now


def known(*, refused_after: float | None = None) -> Known:
    """What Redis knows. Raises redis.RedisError.

    `refused_after`: an exchange that began so many seconds ago was refused, and is not counted.
    """
    ago = "" if refused_after is None else int(refused_after * 1000)
    milliseconds, found, counts = redis_client.run(_READ, keys=KEYS, args=[ago])
    values = _pairs(found)
    pace = Pace(**{each.name: _value(each.name, values) for each in fields(Pace)})
    now = milliseconds / 1000
    # A clock that went back, as after a failover, must not keep anybody waiting.
    pace = pace_rule.not_ahead(pace, now=now)
    if "version" not in values:  # nobody has looked yet
        pace = pace_rule.counted_anew(pace, now=now)
    seconds = {int(second): int(count) for second, count in _pairs(counts).items()}
    return Known(
        now=now,
        pace=pace,
        carried=Carried.of(seconds, now=now, refused_at=pace.refused_at),
        waited_at=float(values.get("waited_at", 0)),
        version=values.get("version", ""),
    )


def look(*, remembered: float | None = None, was_away: bool = False) -> None:
    """Let the rule look at what was carried. Without Redis nothing happens.

    `remembered` is a rate that this process knows and Redis may not: the stricter one holds.
    `was_away`: Redis has not answered this process, which may have gone on.
    """

    def looked(seen: Known) -> Pace:
        pace = pace_rule.after_a_while(
            seen.pace, now=seen.now, carried=seen.carried, waited=seen.waits
        )
        pace = pace_rule.agreed(pace, remembered, now=seen.now)
        return pace_rule.counted_anew(pace, now=seen.now) if was_away else pace

    try:
        _change(looked)
    except redis.RedisError as error:
        logger.warning("pace_not_looked_at reason=%s", type(error).__name__)


def refused(*, began: float, retry_after: float) -> float:
    """A 429 to an exchange that began so many seconds ago; for how long all must pause.

    Raises redis.RedisError.
    """

    def learned(seen: Known) -> Pace:
        return pace_rule.after_refusal(
            seen.pace,
            now=seen.now,
            begun_at=seen.now - began,
            retry_after=retry_after,
            carried=seen.carried,
        )

    before, after = _change(learned, refused_after=began)
    if after.rate is not None and after.rate != before.rate:
        logger.warning(
            "pace_learned pace=%.2f before=%s carried=%s",
            after.rate,
            rate_for_the_log(before.rate),
            after.evidence,
        )
    return pace_rule.pause_after(after, retry_after=retry_after)


def refused_or_unshared(*, began: float, retry_after: float) -> float:
    """The same for a caller that paces nothing by itself: without Redis, `retry_after`."""
    try:
        return refused(began=began, retry_after=retry_after)
    except redis.RedisError as error:
        logger.warning("pace_not_shared reason=%s", type(error).__name__)
        return retry_after


def rate_for_the_log(rate: float | None) -> str:
    """A rate as the log has it, exchanges or calls a second."""
    return "none" if rate is None else f"{rate:.2f}"


def count_login() -> None:
    """A login is about to trade its code: it goes at once, and the lanes leave room for it."""
    try:
        redis_client.run(_LOGIN, keys=KEYS)
    except redis.RedisError as error:
        logger.warning("login_not_counted reason=%s", type(error).__name__)


def forget() -> float | None:
    """Forget what was learned: unlimited until the next 429. The rate that was forgotten.

    Raises redis.RedisError.
    """
    seen = known()
    nothing = Pace(looked_at=seen.now, counted_from=seen.pace.counted_from)
    # Whatever others learn at this moment: else they could be the quicker ones each time.
    _written(replace(seen, version="any"), nothing)
    return seen.pace.rate


def _change(
    change: Callable[[Known], Pace], *, refused_after: float | None = None
) -> tuple[Pace, Pace]:
    """Read, let the rule judge, and write if nobody else has written meanwhile; before and after.

    Raises redis.RedisError.
    """
    seen = known(refused_after=refused_after)
    for _ in range(_TRIES):
        pace = change(seen)
        if _written(seen, pace):
            return seen.pace, pace
        seen = known()
    return seen.pace, seen.pace


def _written(seen: Known, pace: Pace) -> bool:
    args: list[str | float] = [seen.version, _KEPT_MILLISECONDS]
    for each in fields(Pace):
        value = getattr(pace, each.name)
        args += [each.name, "" if value is None else value]
    args += ["interval", 1000 / pace.rate if pace.rate else 0]
    args += ["look_at", int((seen.now + LOOK_SECONDS) * 1000)]
    return bool(redis_client.run(_WRITE, keys=KEYS[:1], args=args))


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {
        name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)
    }


def _value(name: str, values: Mapping[str, str]) -> Any:
    """One field of what is known; those of another version of this service have their default."""
    value = values.get(name)
    if value is None:
        return getattr(_NOTHING, name)
    if value == "":
        return None
    return int(float(value)) if name in _WHOLE else float(value)


_NOTHING: Final = Pace()
_WHOLE: Final = {"evidence", "probes"}
