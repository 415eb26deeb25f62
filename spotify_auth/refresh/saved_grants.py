"""Grants that PostgreSQL did not take, saved in Redis, encrypted, until a lane stores them."""

import dataclasses
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from django.db import Error, connection

from spotify_auth import redis_client
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.encryption import DecryptionError, cipher
from spotify_auth.models import SpotifyToken, UserId
from spotify_auth.refresh import store
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import SavedGrant, SavedGrantUnreadable, decide
from spotify_auth.refresh.history import Evidence
from spotify_auth.refresh.process import process
from spotify_auth.refresh.transaction import ClaimTransaction
from spotify_auth.secrecy import forgets_variables

logger = logging.getLogger(__name__)

RESCUE_SECONDS = 10.0
"""What a lane may need to find out that PostgreSQL is away, and to save its grant."""
RETRY_SECONDS = 0.5
LAST_TRIES_SECONDS = 10.0
"""How long a worker that was told to stop still holds a grant that nothing takes."""
STORED_MILLISECONDS = 60_000
"""How long a grant stays here after PostgreSQL took it: a failover to a standby that had missed the
last commits brings the token before it back."""
KEPT_MILLISECONDS = 7 * 24 * 3600 * 1000

_RESCUED = "spotify_auth:rescued:"

# Unless a lane has stored or replaced it meanwhile.
_REPLACE = """
local left = redis.call('PTTL', KEYS[1])
if left < 1 or redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
return 1
"""


@forgets_variables
def seal(claim: Claim, saved: SavedGrant) -> bytes:
    """A grant as Redis may hold it, bound to its user and generation."""
    # Without `asdict`: this is part of each refresh, and `asdict` copies deeply.
    fields = {field.name: getattr(saved.grant, field.name) for field in dataclasses.fields(Grant)}
    plain = json.dumps({**fields, "issued_at": saved.issued_at})
    return cipher().encrypt(plain, place=_place(claim.user_id, claim.generation))


def save(claim: Claim, saved: SavedGrant, *, again: bool = False) -> bool:
    """Save a grant that is not stored yet in Redis, encrypted; False without Redis.

    A failure is said, unless it is tried `again`.
    """
    sealed = seal(claim, saved)
    try:
        redis_client.client(urgent=True).set(key_of(claim), sealed, px=KEPT_MILLISECONDS)
    except redis.RedisError as error:
        if not again:
            logger.warning(
                "grant_save_failed user_id=%s reason=%s", claim.user_id, type(error).__name__
            )
        return False
    return True


def delete_orphans() -> None:
    """Delete saved grants whose token no longer needs them, for example of deleted users.

    One that is ahead of its row stays: PostgreSQL was restored from a backup, or its standby
    had missed the last commits. So does that of a token that was refused for good: an appeal
    stores it. A worker that was frozen may have saved it after the verdict. So does that of a
    paused token, for as long as it is paused.
    """
    try:
        for key in redis_client.client().scan_iter(match=f"{_RESCUED}*", count=1000):
            user_id, generation = owner_of(key.decode())
            waiting = SpotifyToken.objects.filter(pk=user_id, generation__lte=generation)
            kept = waiting.exclude(status__in=SpotifyToken.ERASED)
            status = kept.values_list("status", flat=True).first()
            if status is None:
                redis_client.client().delete(key)
            elif status == SpotifyToken.Status.PAUSED:
                redis_client.client().pexpire(key, KEPT_MILLISECONDS)
    except redis.RedisError as error:
        logger.warning("rescue_cleanup_failed reason=%s", type(error).__name__)


def stored() -> Iterator[tuple[str, bytes]]:
    """Each saved grant, sealed, with its name. Raises redis.RedisError."""
    client = redis_client.client()
    for key in client.scan_iter(match=f"{_RESCUED}*", count=1000):
        sealed = client.get(key)
        if isinstance(sealed, bytes):  # or it was stored meanwhile
            yield key.decode(), sealed


def reseal(name: str, sealed: bytes) -> bool:
    """Bring a saved grant under the first key; False if it is, or is no longer there.

    Raises DecryptionError and redis.RedisError.
    """
    if cipher().is_current(sealed):
        return False
    place = _place(*owner_of(name))
    renewed = cipher().encrypt(cipher().decrypt(sealed, place=place), place=place)
    return bool(redis_client.run(_REPLACE, keys=[name], args=[sealed, renewed]))


def forget(names: Sequence[str]) -> None:
    """Delete these saved grants. Raises redis.RedisError."""
    redis_client.client().delete(*names)


def owner_of(name: str) -> tuple[Any, int]:
    """The user and the generation that a saved grant's name has.

    The user's key stays text: it may be a number, a UUID or a text, with colons even.
    """
    user_id, generation = name.removeprefix(_RESCUED).rsplit(":", 1)
    return user_id, int(generation)


def save_or_hold(claim: Claim, saved: SavedGrant) -> None:
    """Save a grant that PostgreSQL did not take, in Redis or in this thread.

    With both away the lane holds it and tries until one of them is back, or until the
    process has been told to stop for a while: that is the last moment of this pair.
    """
    give_up: float | None = None
    again = False
    while not save(claim, saved, again=again):
        if _stored_directly(claim, saved, again=again):
            return
        again = True
        if process.stopping.is_set():
            give_up = give_up or time.monotonic() + LAST_TRIES_SECONDS
            if time.monotonic() > give_up:
                logger.error("grant_lost user_id=%s generation=%s", claim.user_id, claim.generation)
                return
        time.sleep(RETRY_SECONDS)
    logger.warning("rescue_stored user_id=%s generation=%s", claim.user_id, claim.generation)


def _stored_directly(claim: Claim, saved: SavedGrant, *, again: bool = False) -> bool:
    """Whether PostgreSQL takes the grant over a new connection, or has it already."""
    decision = decide(claim, saved, Evidence(), False, random.random())  # noqa: S311  (jitter)
    try:
        connection.close()
        with ClaimTransaction() as transaction:
            # If the COMMIT came through after all, the generation check rejects this one.
            applied = store.apply(transaction, claim, decision, duration=0)
    except Error as error:
        if not again:
            logger.warning("rescue_waits user_id=%s reason=%s", claim.user_id, type(error).__name__)
        return False
    if applied.stored:
        logger.warning("rescue_replayed user_id=%s generation=%s", claim.user_id, claim.generation)
    store.announce(claim, decision, applied)
    return True


@forgets_variables
def unseal(claim: Claim, sealed: bytes) -> SavedGrant | SavedGrantUnreadable:
    """The claimed generation's saved grant. One that is unreadable here stays in Redis."""
    return read(claim.user_id, claim.generation, sealed)


def read(
    user_id: UserId | str, generation: int, sealed: bytes
) -> SavedGrant | SavedGrantUnreadable:
    """A saved grant, unless no key opens it, or another version wrote it."""
    try:
        plain = json.loads(cipher().decrypt(sealed, place=_place(user_id, generation)))
        known = {field.name: plain[field.name] for field in dataclasses.fields(Grant)}
        return SavedGrant(grant=Grant(**known), issued_at=plain["issued_at"])
    except (DecryptionError, ValueError, KeyError, TypeError) as error:
        reason = error if isinstance(error, DecryptionError) else type(error).__name__
        logger.error("rescue_undecryptable user_id=%s reason=%s", user_id, reason)
        return SavedGrantUnreadable()


def key_of(claim: Claim) -> str:
    """The name of a claimed generation's saved grant in Redis."""
    return name_of(claim.user_id, claim.generation)


def name_of(user_id: UserId, generation: int) -> str:
    """The same, by what a claim has of it."""
    return f"{_RESCUED}{user_id}:{generation}"


def _place(user_id: UserId | str, generation: int) -> str:
    return f"rescued.{user_id}.{generation}"
