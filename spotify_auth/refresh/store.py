"""Writing a decision: the row and its event, in one SQL statement that also commits.

Every statement is fenced: it writes only if the row still has the claimed generation.
A grant's times are counted from the start of its exchange's transaction, so that an
`expires_at` is never optimistic.
"""

import os
import socket
from typing import Any

from spotify_auth.conf import settings
from spotify_auth.encryption import DecryptionError, cipher
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenColumn
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import Decision, Postpone, PutOff, StoreFailure, StoreGrant
from spotify_auth.refresh.transaction import ClaimTransaction
from spotify_auth.secrecy import forgets_variables

_EVENT = """
INSERT INTO spotify_auth_tokenevent (
    user_id, at, cause, asked_by, outcome, generation_before, generation_after, rotated,
    lifetime_granted, lifetime_used, duration_ms, worker, error)
SELECT user_id, clock_timestamp(), %(cause)s, %(requested_by)s, %(outcome)s, %(generation)s,
       generation, %(rotated)s, %(expires_in)s, %(lifetime_used)s, %(duration_ms)s, %(worker)s,
       %(error)s
FROM written
"""
_FENCE = "user_id = %(user_id)s AND generation = %(generation)s AND status = %(claimed_status)s"
# What an administrator has ordered while a lane held a grant without its lock, both servers away.
STAYS = f"(status = 'paused' OR last_error = '{FailureCode.REQUIRED_BY_ADMIN}')"
"""Of the row: it takes a newer pair of its generation, and stays as it is."""
_FENCE_OF_A_GRANT = (
    "user_id = %(user_id)s AND generation = %(generation)s "
    f"AND (status = %(claimed_status)s OR {STAYS})"
)

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

_STORE_GRANT = f"""
WITH written AS (
    UPDATE spotify_auth_spotifytoken
    SET access_token = %(access_token)s,
        -- "When a refresh token is not returned, continue using the existing token." It comes
        -- back sealed anew if it was not sealed under the first key.
        refresh_token = coalesce(%(refresh_token)s, refresh_token),
        scope = coalesce(nullif(%(scope)s, ''), scope),
        generation = generation + 1,
        refreshed_at = %(issued_at)s,
        expires_at = %(issued_at)s::timestamptz + make_interval(secs => %(expires_in)s),
        due_at = {{due_at}},
        due_cause = '{Cause.SCHEDULE}', asked_by = '', appeal_at = NULL,
        failures = 0, suspected_at = NULL,
        status = CASE WHEN {STAYS} THEN status ELSE 'active' END,
        last_error = CASE WHEN {STAYS} THEN last_error ELSE '' END
    WHERE {_FENCE_OF_A_GRANT}
    RETURNING user_id, generation
) {_EVENT}
"""  # noqa: S608  (every value is a parameter)
_STORE_GRANT_OF_ANYBODY = _STORE_GRANT.format(due_at=_DUE)
_STORE_GRANT_UNLESS_DORMANT = _STORE_GRANT.format(due_at=_DUE_UNLESS_DORMANT)
_STORE_FAILURE = f"""
WITH written AS (
    UPDATE spotify_auth_spotifytoken
    SET status = %(status)s,
        due_at = clock_timestamp() + make_interval(secs => %(due_in)s),
        due_cause = '{Cause.SCHEDULE}', asked_by = '',
        failures = failures + 1,
        -- The moment of the refusal and not that of the claim: a user who was served in
        -- between proves nothing about it.
        suspected_at = CASE WHEN %(suspected)s THEN least(suspected_at, clock_timestamp())
                            ELSE suspected_at END,
        -- Times that lie ahead were written while the database's clock was ahead. They would keep
        -- a dead token from its verdict, and its page from a button, for as long.
        refreshed_at = least(refreshed_at, clock_timestamp()),
        expires_at = least(expires_at, clock_timestamp() + (expires_at - refreshed_at)),
        appeals = %(appeals)s,
        appeal_at = clock_timestamp() + make_interval(secs => %(appeal_in)s),
        last_error = %(error)s
    WHERE {_FENCE}
    RETURNING user_id, generation
) {_EVENT}
"""  # noqa: S608  (every value is a parameter)
_PUT_OFF = f"""
UPDATE spotify_auth_spotifytoken
SET due_at = clock_timestamp() + make_interval(secs => %(due_in)s),
    appeal_at = CASE WHEN status = 'active' THEN appeal_at
                     ELSE clock_timestamp() + make_interval(secs => %(due_in)s) END,
    failures = failures + 1, last_error = %(error)s
WHERE {_FENCE}
"""  # noqa: S608  (every value is a parameter)
_POSTPONE = f"""
UPDATE spotify_auth_spotifytoken
SET due_at = clock_timestamp() + make_interval(secs => %(due_in)s),
    appeal_at = CASE WHEN status = 'active' THEN appeal_at
                     ELSE clock_timestamp() + make_interval(secs => %(due_in)s) END
WHERE {_FENCE}
"""  # noqa: S608  (every value is a parameter)


def apply(
    transaction: ClaimTransaction, claim: Claim, decision: Decision, *, duration: float
) -> bool:
    """Write a decision and commit it. False if the generation check rejected it.

    `duration` of the exchange is in seconds. Raises django.db.Error.
    """
    fence = {
        "user_id": claim.user_id,
        "generation": claim.generation,
        "claimed_status": claim.status,
    }
    event = {
        "cause": claim.cause,
        "requested_by": claim.requested_by,
        "outcome": decision.outcome,
        # Negative if PostgreSQL's clock was ahead at the last refresh.
        "lifetime_used": max(0, int(claim.lifetime_used)),
        "duration_ms": int(duration * 1000),
        "worker": f"{socket.gethostname()}:{os.getpid()}"[:100],
    }
    match decision.write:
        case StoreGrant() as write:
            unless_dormant = settings.REFRESH_DORMANT_AFTER
            sql = _STORE_GRANT_UNLESS_DORMANT if unless_dormant else _STORE_GRANT_OF_ANYBODY
            written = transaction.commit(sql, {**fence, **event, **_pair(claim, write)})
        case StoreFailure() as write:
            written = transaction.commit(
                _STORE_FAILURE, {**fence, **event, **_failure(write, decision)}
            )
        case Postpone(due_in=due_in):
            written = transaction.commit(_POSTPONE, {**fence, "due_in": due_in})
        case PutOff(error=error, due_in=due_in):
            written = transaction.commit(_PUT_OFF, {**fence, "due_in": due_in, "error": error})
    return written == 1


@forgets_variables
def _pair(claim: Claim, write: StoreGrant) -> dict[str, Any]:
    def seal(column: TokenColumn, value: str | None) -> bytes | None:
        return None if value is None else SpotifyToken.seal(column, value, user_id=claim.user_id)

    return {
        "cause": write.cause,
        "access_token": seal("access_token", write.grant.access_token),
        "refresh_token": seal("refresh_token", write.grant.refresh_token)
        or _kept_refresh_token(claim),
        "scope": write.grant.scope,
        "expires_in": write.grant.expires_in,
        "rotated": write.grant.refresh_token is not None,
        "issued_at": write.issued_at,
        "due_in": write.due_in,
        "dormant_after": settings.REFRESH_DORMANT_AFTER,
        "error": "",
    }


def _kept_refresh_token(claim: Claim) -> bytes | None:
    """The token in use, sealed under the first key if it is not yet; None: leave it as it is.

    Or an old key could never be retired while Spotify returns no new refresh tokens.
    """
    if cipher().is_current(claim.sealed_refresh_token):
        return None
    try:
        token = claim.refresh_token()
    except DecryptionError:
        return None  # a saved grant, stored over a token that no key opens
    return SpotifyToken.seal("refresh_token", token, user_id=claim.user_id)


def _failure(write: StoreFailure, decision: Decision) -> dict[str, Any]:
    return {
        "status": write.status,
        "suspected": decision.outcome is Outcome.SUSPECTED,
        "due_in": write.due_in,
        "appeals": write.appeals,
        "appeal_in": write.appeal_in,
        "rotated": False,
        "expires_in": None,
        "error": write.error,
    }
