"""How fast the Web API is asked: as learned from its 429s, by all processes together.

Unlimited until the application as a whole was refused (`pause` knows the difference to an endpoint
with a limit of its own), and then what `pace_rule` says. Redis adds up what all processes called,
and gives each a batch of permits for the next second, with the one question that `pause` asks
anyway. So a call asks nobody. A call without a permit fails fast: nobody ever sleeps.

While Redis is away each process goes on at the pace that it knew last, and learns from its own
429s. A Redis that has lost its memory is told that pace by the first process that asks.
"""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import redis

from spotify_auth import pace_rule, redis_client
from spotify_auth.figures.traffic import WEB_API_PACE
from spotify_auth.pace_rule import Carried, Pace
from spotify_auth.web_api.errors import RateLimited

logger = logging.getLogger(__name__)

LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A longer Retry-After is about a ban or an endpoint that is gone, and not about a rate."""
FEWEST_PERMITS = 6
"""A process asks for a page's calls at least."""
LOOK_SECONDS = 5.0
"""How often the pace is looked at, by one of the processes."""
_KEPT_SECONDS = pace_rule.WINDOW_SECONDS + 5
_TRIES = 3
"""Another process may learn at the same moment."""

KEYS = [WEB_API_PACE, "spotify_auth:web_api:carried"]
"""The pace with its permits, and the calls of each second, by Redis's clock."""

_CARRY = f"""
local function carry(carried, second, first)
    for index = first, #ARGV, 2 do
        redis.call('HINCRBY', carried, string.format('%d', second - ARGV[index]), ARGV[index + 1])
    end
    if redis.call('HLEN', carried) > {2 * _KEPT_SECONDS} then
        for _, field in ipairs(redis.call('HKEYS', carried)) do
            if tonumber(field) < second - {_KEPT_SECONDS} then
                redis.call('HDEL', carried, field)
            end
        end
    end
    redis.call('EXPIRE', carried, {2 * _KEPT_SECONDS})
end
"""
# Nobody saves up more than a second's permits. Nothing is written before there is a pace.
SHARE = f"""
{_CARRY}
local function share(pace, carried, now)
    if #ARGV > 4 then carry(carried, math.floor(now), 5) end
    local known = redis.call('HMGET', pace, 'rate', 'level', 'at', 'looked_at')
    if not known[4] and ARGV[4] ~= '' then
        known[1] = known[1] or ARGV[4]
        redis.call('HSET', pace, 'rate', known[1])
    end
    local is_due = math.abs(now - (known[4] or 0)) >= {LOOK_SECONDS} and 1 or 0
    local rate = tonumber(known[1] or '')
    if not rate then return {{'', 0, is_due}} end
    -- A clock that went back, as after a failover, takes nothing away.
    local saved = (known[2] or 0) + ARGV[2] + math.max(now - (known[3] or now), 0) * rate
    local level = math.min(saved, math.max(rate, 1))
    local given = math.min(tonumber(ARGV[1]), math.floor(level))
    redis.call('HSET', pace, 'level', tostring(level - given), 'at', string.format('%.3f', now))
    if ARGV[3] == '1' then redis.call('HSET', pace, 'waited', '1') end
    return {{known[1], given, is_due}}
end
"""
"""A Lua function for the question of `pause`. Its arguments: permits that are wanted, those that
are left over, whether calls went without, the rate that this process knew last, blank for none, and
then the calls of so many seconds ago."""
_READ = f"""
{_CARRY}
local time = redis.call('TIME')
carry(KEYS[2], time[1], 1)
local known = redis.call('HMGET', KEYS[1], 'state', 'waited')
return {{time[1], time[2], known[1] or '', known[2] or '', redis.call('HGETALL', KEYS[2])}}
"""
_WRITE = f"""
if (redis.call('HGET', KEYS[1], 'state') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'looked_at', ARGV[3])
redis.call('HDEL', KEYS[1], 'waited')
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], 'rate', 'level', 'at')
else
    redis.call('HSET', KEYS[1], 'rate', ARGV[4])
    redis.call('HSETNX', KEYS[1], 'at', ARGV[3])
end
redis.call('EXPIRE', KEYS[1], {int(pace_rule.FORGOTTEN_SECONDS)})
return 1
"""

_Rule = Callable[[Pace, float, Carried, bool], Pace]
"""The pace, the time, what was carried and whether calls went without: the pace from now on."""


class _Memory:
    """What this process knows. Times by `time.monotonic()`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rate: float | None = None
        self.shared: float | None = None
        """The rate of all, as Redis last said."""
        self.permits = 0.0
        self.wanted = 0
        """Calls since the last question, those that went without a permit included."""
        self.waited = False
        self.untold: Counter[int] = Counter()
        """Calls by the second, of which Redis does not know yet."""
        self.recent: Counter[int] = Counter()
        self.own: Pace | None = None
        """The pace of this process, while it is by itself."""
        self.at = 0.0
        """When `permits` were filled, by itself."""
        self.since = time.monotonic()
        """Calls are counted from then on."""

    def count(self, second: int, calls: int) -> None:
        self.untold[second] += calls
        self.recent[second] += calls
        while min(self.recent) < second - _KEPT_SECONDS:
            del self.recent[min(self.recent)]

    def tell(self) -> list[int]:
        """So many seconds ago and so many calls, in turns, of which Redis does not know yet."""
        now = int(time.monotonic())
        told: list[int] = []
        for second, calls in self.untold.items():
            if calls and now - second < _KEPT_SECONDS:
                told += [now - second, calls]
        self.untold = Counter()
        return told


_memory = _Memory()


def forget() -> None:
    """Know nothing, as a new process does: for tests."""
    global _memory
    _memory = _Memory()


def take() -> None:
    """Count a call that is about to be made. Raises RateLimited beyond the pace."""
    memory, now = _memory, time.monotonic()
    with memory.lock:
        memory.wanted += 1
        if memory.own is not None:
            _fill(memory, now)
        if memory.rate is not None:
            if memory.permits < 1:
                memory.waited = True
                raise RateLimited(retry_after=max(1.0, 1 / memory.rate))
            memory.permits -= 1
        memory.count(int(now), 1)


def question() -> list[int | float | str]:
    """The arguments of SHARE."""
    memory = _memory
    with memory.lock:
        wanted = max(memory.wanted, FEWEST_PERMITS)
        unused = 0 if memory.own is not None else int(memory.permits)
        waited = int(memory.waited)
        memory.wanted, memory.permits, memory.waited = 0, 0.0, False
        remembered = "" if memory.shared is None else memory.shared
        return [wanted, unused, waited, remembered, *memory.tell()]


def answered(rate: bytes, given: int, is_due: int) -> None:
    """Take over what SHARE said; look at the pace if it is time. Raises redis.RedisError."""
    memory = _memory
    with memory.lock:
        memory.own = None
        memory.rate = memory.shared = float(rate) if rate else None
        memory.permits = float(given)
    if is_due:
        _learn(_after_a_while, tries=1)


def by_itself() -> None:
    """Redis is away: this process goes on at the pace of all, and knows of its own 429s only."""
    memory, now = _memory, time.monotonic()
    with memory.lock:
        if memory.own is None:
            own = pace_rule.agreed(Pace(looked_at=now), memory.shared, now=now)
            memory.own = pace_rule.counted_anew(own, now=memory.since)
            memory.rate, memory.at = memory.own.rate, now
            memory.permits = memory.rate or 0.0


def uncount(*, began: float) -> None:
    """A call that began then was answered with 429: nothing was carried."""
    with _memory.lock:
        _memory.count(int(began), -1)


def was_refused(*, began: float, retry_after: float) -> None:
    """The application was refused: a call that began then, which is uncounted."""
    if retry_after > LONGEST_RETRY_AFTER_SECONDS:
        return
    memory, ago = _memory, time.monotonic() - began

    def rule(pace: Pace, now: float, carried: Carried, _: bool) -> Pace:
        return pace_rule.after_refusal(
            pace, now=now, begun_at=now - ago, retry_after=retry_after, carried=carried
        )

    try:
        pace = _learn(rule, tries=_TRIES)
    except redis.RedisError:
        by_itself()
        with memory.lock:
            pace = _learn_alone(memory, rule)
    else:
        if pace:
            memory.shared = pace.rate
    if pace and pace.rate is not None:
        memory.rate, memory.permits = pace.rate, 0.0
        logger.warning("web_api_pace_learned calls_a_second=%.1f", pace.rate)


def forget_learned() -> float | None:
    """Forget what was learned: unlimited until the next 429. The rate that was forgotten.

    Raises redis.RedisError.
    """
    seen: list[float | None] = [None]

    def rule(pace: Pace, now: float, *_: object) -> Pace:
        seen.append(pace.rate)
        return Pace(looked_at=now, counted_from=pace.counted_from)

    _learn(rule, tries=_TRIES)
    return seen[-1]


def _after_a_while(pace: Pace, now: float, carried: Carried, waited: bool) -> Pace:
    return pace_rule.after_a_while(pace, now=now, carried=carried, waited=waited)


def _learn(rule: _Rule, *, tries: int) -> Pace | None:
    """Apply a rule to what all processes know; None if others did so. Raises redis.RedisError."""
    for _ in range(tries):
        with _memory.lock:
            told = _memory.tell()
        seconds, microseconds, state, waited, fields = redis_client.run(_READ, keys=KEYS, args=told)
        now = int(seconds) + int(microseconds) / 1e6
        counts = {int(second): int(n) for second, n in zip(fields[::2], fields[1::2], strict=True)}
        before = pace_rule.not_ahead(_pace_of(state, now=now), now=now)
        if not state:
            before = pace_rule.agreed(before, _memory.shared, now=now)
        carried = Carried.of(counts, now=now, refused_at=before.refused_at)
        pace = rule(before, now, carried, bool(waited))
        rate = "" if pace.rate is None else pace.rate
        after = json.dumps(asdict(pace))
        if redis_client.run(_WRITE, keys=KEYS[:1], args=[state, after, now, rate]):
            return pace
    return None


def _learn_alone(memory: _Memory, rule: _Rule) -> Pace:
    now, own = time.monotonic(), memory.own or Pace()
    carried = Carried.of(memory.recent, now=now, refused_at=own.refused_at)
    memory.own = rule(own, now, carried, memory.waited)
    memory.waited = False
    return memory.own


def _fill(memory: _Memory, now: float) -> None:
    """Permits of a process that is by itself, since the last time."""
    if memory.own and now - memory.own.looked_at >= LOOK_SECONDS:
        memory.rate = _learn_alone(memory, _after_a_while).rate
    if memory.rate is not None:
        filled = memory.permits + (now - memory.at) * memory.rate
        memory.permits = min(filled, max(memory.rate, 1.0))
    memory.at = now


def _pace_of(state: bytes, *, now: float) -> Pace:
    """What was stored; nothing if another version of the service stored it, or nobody yet.

    It is not known then what was called before `now`.
    """
    try:
        if state:
            return Pace(**json.loads(state))
    except TypeError:
        pass
    return pace_rule.counted_anew(Pace(), now=now)
