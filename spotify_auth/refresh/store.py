"""Writing what an exchange came to: the row and its event, in one SQL statement.

Each statement is the last of its transaction, and fenced: it writes only if the row still
has the claimed generation.
A grant's times are counted from the start of its exchange's transaction, so that an
`expires_at` is never optimistic.
"""

import logging
import os
import random
import socket
from typing import Any

from spotify_auth import schedule
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenColumn
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import Verdict
from spotify_auth.refresh.transaction import execute_last

logger = logging.getLogger(__name__)

_EVENT = """
INSERT INTO spotify_auth_tokenevent (
    user_id, at, cause, asked_by, outcome, generation_before, generation_after, rotated,
    lifetime_granted, lifetime_used, duration_ms, worker, error)
SELECT user_id, clock_timestamp(), %(cause)s, %(asked_by)s, %(outcome)s, %(generation)s, generation,
       %(rotated)s, %(expires_in)s, %(lifetime_used)s, %(duration_ms)s, %(worker)s, %(error)s
FROM written
"""
_FENCE = "user_id = %(user_id)s AND generation = %(generation)s AND status = 'active'"

_DUE = "%(issued_at)s::timestamptz + make_interval(secs => %(due_in)s)"
# Users who have not visited for REFRESH_DORMANT_AFTER days are not refreshed until a page asks
# for it, or their grant expires. A user who was never seen has logged in, at least.
_DUE_UNLESS_DORMANT = f"""
CASE WHEN coalesce(
              (SELECT seen_at FROM spotify_auth_lastseen AS seen
               WHERE seen.user_id = spotify_auth_spotifytoken.user_id),
              authorized_at
          ) > now() - make_interval(days => %(dormant_after)s)
     THEN {_DUE} ELSE greatest(reauthorize_by, {_DUE}) END
"""  # noqa: S608  (every value is a parameter)

_WRITE_GRANT = f"""
WITH written AS (
    UPDATE spotify_auth_spotifytoken
    SET access_token = %(access_token)s,
        -- "When a refresh token is not returned, continue using the existing token."
        refresh_token = coalesce(%(refresh_token)s, refresh_token),
        scope = coalesce(nullif(%(scope)s, ''), scope),
        generation = generation + 1,
        refreshed_at = %(issued_at)s,
        expires_at = %(issued_at)s::timestamptz + make_interval(secs => %(expires_in)s),
        due_at = {{due_at}},
        due_cause = '{Cause.SCHEDULE}', asked_by = '',
        failures = 0, suspected_at = NULL, last_error = ''
    WHERE {_FENCE}
    RETURNING user_id, generation
) {_EVENT}
"""  # noqa: S608  (every value is a parameter)
_WRITE_GRANT_TO_ALL = _WRITE_GRANT.format(due_at=_DUE)
_WRITE_GRANT_UNLESS_DORMANT = _WRITE_GRANT.format(due_at=_DUE_UNLESS_DORMANT)
_PUT_OFF = f"""
UPDATE spotify_auth_spotifytoken
SET due_at = clock_timestamp() + make_interval(secs => %(due_in)s)
WHERE {_FENCE}
"""  # noqa: S608  (every value is a parameter)
_WRITE_FAILURE = f"""
WITH written AS (
    UPDATE spotify_auth_spotifytoken
    SET status = %(status)s,
        due_at = clock_timestamp() + make_interval(secs => %(due_in)s),
        due_cause = '{Cause.SCHEDULE}', asked_by = '',
        failures = failures + 1,
        -- The moment of the refusal and not that of the claim: who was served in
        -- between proves nothing about it.
        suspected_at = CASE WHEN %(suspected)s THEN coalesce(suspected_at, clock_timestamp())
                            ELSE suspected_at END,
        last_error = %(error)s
    WHERE {_FENCE}
    RETURNING user_id, generation
) {_EVENT}
"""  # noqa: S608  (every value is a parameter)


def write_grant(claim: Claim, grant: Grant, *, issued_at: str, cause: str, duration: float) -> bool:
    """Store a new pair; False if the fence kept it out. `duration` is in seconds."""

    def seal(column: TokenColumn, value: str | None) -> bytes | None:
        return None if value is None else SpotifyToken.seal(column, value, user_id=claim.user_id)

    rotated = grant.refresh_token is not None
    due_in = schedule.refresh_after(
        grant.expires_in,
        fraction=random.random(),  # noqa: S311
        late=claim.lifetime_used > claim.lifetime,
    )
    dormant_after = settings.REFRESH_DORMANT_AFTER
    kept = _write(
        _WRITE_GRANT_UNLESS_DORMANT if dormant_after else _WRITE_GRANT_TO_ALL,
        claim,
        duration,
        cause=cause,
        access_token=seal("access_token", grant.access_token),
        refresh_token=seal("refresh_token", grant.refresh_token),
        scope=grant.scope,
        expires_in=grant.expires_in,
        due_in=due_in,
        dormant_after=dormant_after,
        issued_at=issued_at,
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
            cause,
            claim.lifetime_used,
            grant.expires_in,
            duration * 1000,
        )
    return kept


def write_failure(claim: Claim, verdict: Verdict, *, duration: float) -> bool:
    """Store what a failure means; False if the fence kept it out. `duration` is in seconds."""
    kept = _write(
        _WRITE_FAILURE,
        claim,
        duration,
        cause=claim.cause,
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


def put_off(claim: Claim, *, seconds: float) -> None:
    """Let a row wait a moment, without an event: nothing was tried."""
    execute_last(
        _PUT_OFF,
        {"due_in": seconds, "user_id": claim.user_id, "generation": claim.generation},
    )


def _write(sql: str, claim: Claim, duration: float, **parameters: Any) -> bool:
    """Write the row and its event; False when the fence kept a late result out."""
    written = execute_last(
        sql,
        {
            **parameters,
            "user_id": claim.user_id,
            "generation": claim.generation,
            "asked_by": claim.asked_by,
            "lifetime_used": int(claim.lifetime_used),
            "duration_ms": int(duration * 1000),
            "worker": f"{socket.gethostname()}:{os.getpid()}"[:100],
        },
    )
    return written == 1
