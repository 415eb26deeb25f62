"""Attempts under way and grants rescued, in Redis: hints that outlive a lost connection.

A rotated refresh token exists once. Between Spotify's answer and our commit it is in
this process only, so:

*   Before the request, the attempt is marked under its token and generation. Who finds
    the mark of an attempt that never came back knows that Spotify may have rotated:
    a refusal then means "the answer was lost" and not "the person revoked".
*   If PostgreSQL fails after Spotify has answered, the grant is put here, encrypted:
    whoever claims that generation next stores it instead of asking Spotify again.
*   A fresh mark without an end means that somebody may be about to do so: the row is
    left alone for a moment.
*   After the commit the generation has passed. That is noted together with the next mark
    of the same lane, or by `sweep_up`, for some seconds: a lane that lost its lock between
    its claim and its mark, and does not know it, is kept from presenting the dead token.

Redis holds no truth. While it is away, refreshing goes on without the hints.
"""

import dataclasses
import json
import logging
import os
import threading
from dataclasses import dataclass
from uuid import uuid4

import redis

from spotify_auth import redis_client
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.encryption import DecryptionError, cipher
from spotify_auth.models import SpotifyToken, UserId
from spotify_auth.schedule import longest_exchange

logger = logging.getLogger(__name__)

RESCUE_SECONDS = 10.0
"""What a lane may need to find out that PostgreSQL is away, and to keep its grant here."""

_KEPT_MILLISECONDS = 7 * 24 * 3600 * 1000
_PASSED_MILLISECONDS = 5000
"""Longer than a claim can be held before its mark (joined_transaction.AHEAD_SECONDS, and what
a Redis that hangs costs)."""
_BEGUN, _UNANSWERED = "begun", "unanswered"
_RESCUED = "spotify_auth:rescued:"

# What is left of attempts whose generation has passed: two keys each.
_LEAVE = """
for i = {first}, #KEYS, 2 do
    redis.call('SET', KEYS[i], 'passed', 'PX', ARGV[{milliseconds}])
    redis.call('UNLINK', KEYS[i + 1])
end
"""
_SWEEP_UP = _LEAVE.format(first=1, milliseconds=1)
# Returns the rescued grant, the state of an earlier attempt and whether it is in doubt, and
# marks this attempt if it is not. Its age is by Redis's clock. Any further keys are those of
# this thread's earlier attempts. The script may run twice.
_BEGIN = f"""
{_LEAVE.format(first=3, milliseconds=4)}
local rescued = redis.call('GET', KEYS[2])
local earlier = redis.call('GET', KEYS[1])
if earlier == ARGV[1] then earlier = false end
local age = 0
if earlier then age = ARGV[2] - redis.call('PTTL', KEYS[1]) end
local doubtful = earlier and (earlier == 'passed'
    or string.sub(earlier, 1, 5) == 'begun' and age < tonumber(ARGV[3]))
if not doubtful then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {{rescued or '', earlier or '', doubtful and 1 or 0}}
"""

_thread = threading.local()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescued:
    """A grant that is not stored yet, and when its exchange began, as PostgreSQL writes it."""

    grant: Grant
    issued_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """What is known of earlier attempts on one generation."""

    rescued: Rescued | None = None
    in_doubt: bool = False
    """Begun a moment ago, and neither ended nor rescued yet; or stored by somebody else."""
    unanswered: bool = False
    """An attempt never got its answer: Spotify may have rotated."""


def begin(user_id: UserId, generation: int) -> Earlier:
    """Mark an attempt, and learn of earlier ones. The caller holds the row lock."""
    longest = (longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS) + RESCUE_SECONDS) * 1000
    passed = _passed()
    try:
        sealed, earlier, in_doubt = redis_client.run(
            _BEGIN,
            keys=[*_keys(user_id, generation), *passed],
            args=[
                f"{_BEGUN} {uuid4()}:{os.getpid()}",
                _KEPT_MILLISECONDS,
                longest,
                _PASSED_MILLISECONDS,
            ],
        )
    except redis.RedisError as error:
        logger.warning("attempt_not_marked reason=%s", type(error).__name__)
        return Earlier()
    finally:
        passed.clear()
    state = earlier.decode()
    return Earlier(
        rescued=_open(user_id, generation, sealed) if sealed else None,
        in_doubt=bool(in_doubt),
        unanswered=state == _UNANSWERED or (state.startswith(_BEGUN) and not in_doubt),
    )


def end(
    user_id: UserId, generation: int, *, unanswered: bool = False, passed: bool = False
) -> None:
    """The attempt is over. `unanswered` keeps in mind that Spotify may have rotated.

    `passed` says that the row has a new generation by now: that is noted with the next mark.
    """
    mark, rescued = _keys(user_id, generation)
    if passed:
        _passed().extend((mark, rescued))
        return
    try:
        if unanswered:
            redis_client.client().set(mark, _UNANSWERED, px=_KEPT_MILLISECONDS)
        else:
            redis_client.client().delete(mark, rescued)
    except redis.RedisError as error:
        logger.warning("attempt_not_ended reason=%s", type(error).__name__)


def sweep_up() -> None:
    """Note what this thread's attempts left, when no further attempt will do so."""
    passed = _passed()
    try:
        if passed:
            redis_client.run(_SWEEP_UP, keys=passed, args=[_PASSED_MILLISECONDS])
    except redis.RedisError as error:
        logger.warning("attempts_not_swept_up reason=%s", type(error).__name__)
    finally:
        passed.clear()


def keep(user_id: UserId, generation: int, rescued: Rescued) -> bool:
    """Put a grant that is not stored yet into Redis, encrypted; False without Redis."""
    plain = json.dumps({**dataclasses.asdict(rescued.grant), "issued_at": rescued.issued_at})
    sealed = cipher().encrypt(plain, place=_place(user_id, generation))
    try:
        redis_client.client().set(_keys(user_id, generation)[1], sealed, px=_KEPT_MILLISECONDS)
    except redis.RedisError as error:
        logger.warning("grant_not_kept user_id=%s reason=%s", user_id, type(error).__name__)
        return False
    return True


def forget_orphans() -> None:
    """Delete rescued grants that no row waits for, say of people who have left since.

    One that is ahead of its row stays: PostgreSQL was restored from a backup, or its standby
    had missed the last commits.
    """
    try:
        for key in redis_client.client().scan_iter(match=f"{_RESCUED}*", count=1000):
            # The user's key stays text: it may be a number or a UUID.
            user_id, generation = key.decode().removeprefix(_RESCUED).split(":")
            waiting = SpotifyToken.objects.filter(
                pk=user_id, generation__lte=generation, status=SpotifyToken.Status.ACTIVE
            )
            if not waiting.exists():
                redis_client.client().delete(key)
    except redis.RedisError as error:
        logger.warning("orphans_not_forgotten reason=%s", type(error).__name__)


def _open(user_id: UserId, generation: int, sealed: bytes) -> Rescued | None:
    try:
        plain = json.loads(cipher().decrypt(sealed, place=_place(user_id, generation)))
    except DecryptionError as error:
        logger.error("rescue_undecryptable user_id=%s reason=%s", user_id, error)
        return None
    issued_at = plain.pop("issued_at")
    return Rescued(grant=Grant(**plain), issued_at=issued_at)


def _passed() -> list[str]:
    keys: list[str] = _thread.__dict__.setdefault("passed", [])
    return keys


def _keys(user_id: UserId, generation: int) -> tuple[str, str]:
    name = f"{user_id}:{generation}"
    return f"spotify_auth:attempt:{name}", f"{_RESCUED}{name}"


def _place(user_id: UserId, generation: int) -> str:
    return f"rescued.{user_id}.{generation}"
