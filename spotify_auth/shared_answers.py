"""One answer for all who ask for the same at the same time, and for a moment afterwards.

Tabs, threads and processes that want the same of one user share it: one of them asks Spotify,
the others wait for what it gets. Redis holds the answer for some seconds, encrypted and bound to
its place, under a keyed digest. While Redis is away each process shares among its own threads,
and keeps the answer in its own memory.

A place names the generation of the user's token. So an answer ends with its time, and at once
with a disconnect, a deletion or another account: those who ask read the token first.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from spotify_auth import redis_client
from spotify_auth.encryption import DecryptionError, cipher

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 9.0
"""Longer than the calls for one answer may take."""
LOOK_SECONDS = 0.1
"""How often one thread of a process looks whether another process has the answer."""

# The answer, or whether it is for this caller to make it.
_ASK = """
local kept = redis.call('GET', KEYS[1])
if kept then return {'kept', kept} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'make'} end
return {'wait'}
"""
_KEEP = """
if ARGV[3] ~= '0' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
"""


@dataclass(frozen=True, slots=True)
class Made:
    """An answer, and for how many seconds it may be given again."""

    text: str = field(repr=False)
    seconds: float


@dataclass(eq=False, slots=True)
class _Flight:
    """What the threads of this process wait for. Times by `time.monotonic()`."""

    landed: threading.Event = field(default_factory=threading.Event)
    text: str | None = field(default=None, repr=False)
    until: float = 0.0
    """Until when this process gives the answer again by itself."""


_flights: dict[str, _Flight] = {}
_lock = threading.Lock()


def share(place: str, make: Callable[[], Made]) -> str:
    """The answer at this place: one that is there or under way, or else the one that is made.

    Raises what `make` raises; those who waited for it then try by themselves, one after the other.
    """
    key = redis_client.keyed_digest("spotify_auth.shared_answers", place)
    give_up = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < give_up:
        flight, leads = _board(key)
        if leads:
            return _lead(key, flight, make)
        if flight.landed.wait(give_up - time.monotonic()) and flight.text is not None:
            return flight.text
    return make().text


def _board(key: str) -> tuple[_Flight, bool]:
    """The flight under way, or one of which this thread is the leader."""
    now = time.monotonic()
    with _lock:
        for old in [name for name, each in _flights.items() if 0 < each.until <= now]:
            del _flights[old]
        if key in _flights:
            return _flights[key], False
        _flights[key] = flight = _Flight()
        return flight, True


def _lead(key: str, flight: _Flight, make: Callable[[], Made]) -> str:
    kept_here = 0.0
    try:
        made, is_shared = _obtain(key, make)
        flight.text = made.text
        kept_here = 0.0 if is_shared else made.seconds
        return made.text
    finally:
        with _lock:
            if kept_here:
                flight.until = time.monotonic() + kept_here
            else:
                _flights.pop(key, None)
        flight.landed.set()


def _obtain(key: str, make: Callable[[], Made]) -> tuple[Made, bool]:
    """The answer of another process, or one for all of them; False if Redis did not take it."""
    keys = [f"spotify_auth:shared:{key}", f"spotify_auth:shared:{key}:made"]
    me = secrets.token_hex(8)
    is_away, text = False, None
    try:
        text = _wait_for(keys, key, me)
    except redis.RedisError as error:
        logger.warning("answers_not_shared reason=%s", type(error).__name__)
        is_away = True
    if text is not None:
        return Made(text, 0), True
    made = Made("", 0)
    try:
        made = make()
    finally:
        is_kept = not is_away and _keep(keys, key, me, made)
    return made, is_kept


def _keep(keys: list[str], key: str, me: str, made: Made) -> bool:
    """Give the answer to all processes, and let those who wait go on; False without Redis."""
    sealed = cipher().encrypt(made.text, place=_place(key)) if made.seconds else b""
    try:
        redis_client.run(_KEEP, keys=keys, args=[me, sealed, int(made.seconds * 1000)])
    except redis.RedisError as error:
        logger.warning("answers_not_shared reason=%s", type(error).__name__)
        return False
    return True


def _wait_for(keys: list[str], key: str, me: str) -> str | None:
    """What another process has made; None if it is for this one to make it."""
    give_up = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < give_up:
        state, *kept = redis_client.run(_ASK, keys=keys, args=[me, int(LONGEST_SECONDS * 1000)])
        if state == b"make":
            return None
        if state == b"kept":
            try:
                return cipher().decrypt(kept[0], place=_place(key))
            except DecryptionError:
                return None  # under a key that this process lacks: its own answer replaces it
        time.sleep(LOOK_SECONDS)
    return None


def _place(key: str) -> str:
    return f"spotify_auth:shared:{key}"
