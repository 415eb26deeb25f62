"""The WRITE side's heart: refresh one token under its row lock.

`refresh_next` and `refresh_user` each claim at most one due token, exchange it and
write the result, in one transaction. The row lock of the claim is held over the HTTP
call on purpose: it is what makes a doubled or lost rotation impossible.

The claim and the write are one SQL statement each, since their cost bounds how many
tokens a machine can keep (docs/decisions.md). `now()` is the start of the transaction:
it lies before the exchange, so an `expires_at` computed from it is never optimistic.
"""

import logging
import os
import random
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from spotify_auth import schedule
from spotify_auth.accounts_service.errors import (
    AccountsServiceError,
    AnswerUnknown,
    GrantRefused,
    RateLimited,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.accounts_service.refreshing import refresh
from spotify_auth.encryption import DecryptionError
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenColumn

logger = logging.getLogger(__name__)

_CLAIM = """
SELECT user_id, generation, refresh_token, due_cause, failures, suspected_at IS NOT NULL,
       extract(epoch FROM expires_at - refreshed_at)::float,
       extract(epoch FROM now() - refreshed_at)::float,
       -- Ends the lock of a worker that hangs; once a transaction, without a round trip.
       set_config('idle_in_transaction_session_timeout', %s, true)
FROM spotify_auth_spotifytoken
WHERE status = 'active' AND due_at <= now() {and_user}
ORDER BY due_at
LIMIT 1
FOR UPDATE SKIP LOCKED
"""
_CLAIM_NEXT = _CLAIM.format(and_user="")
_CLAIM_USER = _CLAIM.format(and_user="AND user_id = %s")

_EVENT = """
INSERT INTO spotify_auth_tokenevent (
    user_id, at, cause, outcome, generation_before, generation_after, rotated,
    lifetime_granted, lifetime_used, duration_ms, worker, error)
SELECT user_id, clock_timestamp(), %(cause)s, %(outcome)s, %(generation)s, generation, %(rotated)s,
       %(expires_in)s, %(lifetime_used)s, %(duration_ms)s, %(worker)s, %(error)s
FROM written
"""
_FENCE = "user_id = %(user_id)s AND generation = %(generation)s AND status = 'active'"

_WRITE_GRANT = f"""
WITH written AS (
    UPDATE spotify_auth_spotifytoken
    SET access_token = %(access_token)s,
        -- "When a refresh token is not returned, continue using the existing token."
        refresh_token = coalesce(%(refresh_token)s, refresh_token),
        scope = coalesce(nullif(%(scope)s, ''), scope),
        generation = generation + 1,
        refreshed_at = now(),
        expires_at = now() + make_interval(secs => %(expires_in)s),
        due_at = now() + make_interval(secs => %(due_in)s),
        due_cause = '{Cause.SCHEDULE}', failures = 0, suspected_at = NULL, last_error = ''
    WHERE {_FENCE}
    RETURNING user_id, generation
) {_EVENT}
"""  # noqa: S608  (every value is a parameter)
_WRITE_FAILURE = f"""
WITH written AS (
    UPDATE spotify_auth_spotifytoken
    SET status = %(status)s,
        due_at = clock_timestamp() + make_interval(secs => %(due_in)s),
        due_cause = '{Cause.SCHEDULE}',
        failures = failures + 1,
        suspected_at = CASE WHEN %(suspected)s THEN coalesce(suspected_at, now())
                            ELSE suspected_at END,
        last_error = %(error)s
    WHERE {_FENCE}
    RETURNING user_id, generation
) {_EVENT}
"""  # noqa: S608  (every value is a parameter)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A due token whose row is locked by the present transaction. Times in seconds."""

    user_id: int
    generation: int
    refresh_token: bytes = field(repr=False)
    cause: str
    failures: int
    suspected: bool
    lifetime: float
    lifetime_used: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a failed exchange means for its row. `due_in` is in seconds from now."""

    outcome: Outcome
    error: str
    due_in: float
    status: SpotifyToken.Status = SpotifyToken.Status.ACTIVE


def refresh_next() -> Outcome | None:
    """Refresh the most urgent due token that nobody else holds; None if there is none.

    Raises django.db.Error when PostgreSQL fails.
    """
    return _refresh(_CLAIM_NEXT, [])


def refresh_user(user_id: int) -> Outcome | None:
    """Refresh one user's token if it is due and nobody else holds it.

    However often it is called, a token is refreshed once: the claim asks again, under
    the lock, whether it is due. Raises django.db.Error when PostgreSQL fails.
    """
    return _refresh(_CLAIM_USER, [user_id])


def judge(claim: Claim, error: AccountsServiceError, *, fraction: float) -> Verdict:
    """Decide what a failed exchange means. `fraction` is a random number in [0, 1).

    Only a second `invalid_grant` is terminal: a first one may be a fault of Spotify's,
    and the access token still lives while it waits for its confirmation.
    """
    if isinstance(error, GrantRefused):
        if claim.suspected:
            return Verdict(
                outcome=Outcome.RECONNECT_REQUIRED,
                error=error.code,
                due_in=0,
                status=SpotifyToken.Status.RECONNECT_REQUIRED,
            )
        return Verdict(
            outcome=Outcome.SUSPECTED,
            error=error.code,
            due_in=schedule.confirm_after(claim.lifetime),
        )
    asked = error.retry_after or 0.0 if isinstance(error, RateLimited) else 0.0
    return Verdict(
        outcome=Outcome.ANSWER_UNKNOWN if isinstance(error, AnswerUnknown) else Outcome.RETRY,
        error=error.code,
        due_in=schedule.back_off(claim.failures + 1, fraction=fraction, at_least=asked),
    )


def _refresh(claim_sql: str, parameters: list[int]) -> Outcome | None:
    with transaction.atomic():
        claim = _claim(claim_sql, parameters)
        if claim is None:
            return None
        started = time.monotonic()
        try:
            grant = _exchange(claim)
        except (AccountsServiceError, DecryptionError) as error:
            if isinstance(error, DecryptionError):
                logger.error("undecryptable user_id=%s reason=%s", claim.user_id, error)
                error = AccountsServiceError("undecryptable")
            verdict = judge(claim, error, fraction=random.random())  # noqa: S311 (jitter)
            outcome = verdict.outcome
            kept = _write_failure(claim, verdict, duration=time.monotonic() - started)
        else:
            outcome = Outcome.REFRESHED
            kept = _write_grant(claim, grant, duration=time.monotonic() - started)
    if not kept:
        # Only possible when the lock was lost with its connection and taken by another.
        logger.warning("late_result user_id=%s generation=%s", claim.user_id, claim.generation)
    return outcome


def _claim(sql: str, parameters: list[int]) -> Claim | None:
    # Twice the deadline for an exchange and its one repetition, and some to write.
    longest = int((2 * settings.TOKEN_ENDPOINT_DEADLINE_SECONDS + 5) * 1000)
    with connection.cursor() as cursor:
        cursor.execute(sql, [str(longest), *parameters])
        row = cursor.fetchone()
    if row is None:
        return None
    user_id, generation, refresh_token, cause, failures, suspected, lifetime, used, _ = row
    return Claim(
        user_id=user_id,
        generation=generation,
        refresh_token=bytes(refresh_token),
        cause=cause,
        failures=failures,
        suspected=suspected,
        lifetime=lifetime,
        lifetime_used=used,
    )


def _exchange(claim: Claim) -> Grant:
    refresh_token = SpotifyToken.unseal("refresh_token", claim.refresh_token, user_id=claim.user_id)
    try:
        return refresh(refresh_token)
    except AnswerUnknown:
        # Once more, at once: a server with a grace window still takes the old token.
        return refresh(refresh_token)


def _write_grant(claim: Claim, grant: Grant, *, duration: float) -> bool:
    def seal(column: TokenColumn, value: str | None) -> bytes | None:
        return None if value is None else SpotifyToken.seal(column, value, user_id=claim.user_id)

    rotated = grant.refresh_token is not None
    kept = _write(
        _WRITE_GRANT,
        claim,
        duration,
        access_token=seal("access_token", grant.access_token),
        refresh_token=seal("refresh_token", grant.refresh_token),
        scope=grant.scope,
        expires_in=grant.expires_in,
        due_in=schedule.refresh_after(grant.expires_in, fraction=random.random()),  # noqa: S311
        rotated=rotated,
        outcome=Outcome.REFRESHED,
        error="",
    )
    if kept:
        logger.info(
            "refreshed user_id=%s generation=%s rotated=%s cause=%s used=%.0f granted=%s ms=%.0f",
            claim.user_id,
            claim.generation + 1,
            rotated,
            claim.cause,
            claim.lifetime_used,
            grant.expires_in,
            duration * 1000,
        )
    return kept


def _write_failure(claim: Claim, verdict: Verdict, *, duration: float) -> bool:
    kept = _write(
        _WRITE_FAILURE,
        claim,
        duration,
        status=verdict.status,
        due_in=verdict.due_in,
        suspected=verdict.outcome is Outcome.SUSPECTED,
        rotated=False,
        expires_in=None,
        outcome=verdict.outcome,
        error=verdict.error,
    )
    if kept:
        logger.warning(
            "not_refreshed user_id=%s generation=%s outcome=%s error=%s cause=%s next_in=%.1f",
            claim.user_id,
            claim.generation,
            verdict.outcome,
            verdict.error,
            claim.cause,
            verdict.due_in,
        )
    return kept


def _write(sql: str, claim: Claim, duration: float, **parameters: Any) -> bool:
    """Write the row and its event; False when the fence kept a late result out."""
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            {
                **parameters,
                "user_id": claim.user_id,
                "generation": claim.generation,
                "cause": claim.cause,
                "lifetime_used": int(claim.lifetime_used),
                "duration_ms": int(duration * 1000),
                "worker": f"{socket.gethostname()}:{os.getpid()}"[:100],
            },
        )
        written: int = cursor.rowcount
    return written == 1
