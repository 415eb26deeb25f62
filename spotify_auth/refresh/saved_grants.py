"""Grants that PostgreSQL did not take, saved in Redis, encrypted, until a lane stores them."""

import dataclasses
import json
import logging
import random
import time

import redis
from django.db import Error, connection

from spotify_auth import redis_client
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.encryption import DecryptionError, cipher
from spotify_auth.models import SpotifyToken
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


@forgets_variables
def seal(claim: Claim, saved: SavedGrant) -> bytes:
    """A grant as Redis may hold it, bound to its user and generation."""
    plain = json.dumps({**dataclasses.asdict(saved.grant), "issued_at": saved.issued_at})
    return cipher().encrypt(plain, place=_place(claim))


def save(claim: Claim, saved: SavedGrant) -> bool:
    """Save a grant that is not stored yet in Redis, encrypted; False without Redis."""
    sealed = seal(claim, saved)
    try:
        redis_client.client(urgent=True).set(key_of(claim), sealed, px=KEPT_MILLISECONDS)
    except redis.RedisError as error:
        logger.warning(
            "grant_save_failed user_id=%s reason=%s", claim.user_id, type(error).__name__
        )
        return False
    return True


def delete_orphans() -> None:
    """Delete saved grants whose token no longer needs them, for example of deleted users.

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
        logger.warning("rescue_cleanup_failed reason=%s", type(error).__name__)


def save_or_hold(claim: Claim, saved: SavedGrant) -> None:
    """Save a grant that PostgreSQL did not take, in Redis or in this thread.

    With both away the lane holds it and tries until one of them is back, or until the
    process has been told to stop for a while: that is the last moment of this pair.
    """
    give_up: float | None = None
    while not save(claim, saved):
        if _stored_directly(claim, saved):
            return
        if process.stopping.is_set():
            give_up = give_up or time.monotonic() + LAST_TRIES_SECONDS
            if time.monotonic() > give_up:
                logger.error("grant_lost user_id=%s generation=%s", claim.user_id, claim.generation)
                return
        time.sleep(RETRY_SECONDS)
    logger.warning("rescue_stored user_id=%s generation=%s", claim.user_id, claim.generation)


def _stored_directly(claim: Claim, saved: SavedGrant) -> bool:
    """Whether PostgreSQL takes the grant over a new connection, or has it already."""
    decision = decide(claim, saved, Evidence(), False, random.random())  # noqa: S311  (jitter)
    try:
        connection.close()
        with ClaimTransaction() as transaction:
            # If the COMMIT came through after all, the generation check rejects this one.
            stored = store.apply(transaction, claim, decision, duration=0)
    except Error as error:
        logger.warning("rescue_waits user_id=%s reason=%s", claim.user_id, type(error).__name__)
        return False
    if stored:
        logger.warning("rescue_replayed user_id=%s generation=%s", claim.user_id, claim.generation)
    return True


@forgets_variables
def unseal(claim: Claim, sealed: bytes) -> SavedGrant | SavedGrantUnreadable:
    """A saved grant. One that no key opens, or that another version wrote, waits for those."""
    try:
        plain = json.loads(cipher().decrypt(sealed, place=_place(claim)))
        known = {field.name: plain[field.name] for field in dataclasses.fields(Grant)}
        return SavedGrant(grant=Grant(**known), issued_at=plain["issued_at"])
    except (DecryptionError, ValueError, KeyError, TypeError) as error:
        reason = error if isinstance(error, DecryptionError) else type(error).__name__
        logger.error("rescue_undecryptable user_id=%s reason=%s", claim.user_id, reason)
        return SavedGrantUnreadable()


def key_of(claim: Claim) -> str:
    """The name of a claimed generation's saved grant in Redis."""
    return f"{_RESCUED}{claim.user_id}:{claim.generation}"


def _place(claim: Claim) -> str:
    return f"rescued.{claim.user_id}.{claim.generation}"
