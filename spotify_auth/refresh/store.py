"""Writing a decision: row, event and perhaps a notice, in one SQL statement that also commits.

Every statement is fenced: it writes only if the row still has the claimed generation.
A grant's times are counted from the start of its exchange's transaction, so that an
`expires_at` is never optimistic.
"""

import os
import socket
from functools import cache
from typing import Any, NamedTuple

from spotify_auth.conf import settings
from spotify_auth.encryption import DecryptionError, cipher
from spotify_auth.failure_codes import FailureCode
from spotify_auth.history.tables import EVENTS, ROUTINE
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenColumn
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft, Written
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import Decision, Postpone, PutOff, StoreFailure, StoreGrant
from spotify_auth.refresh.plans import KeptStatement, kept
from spotify_auth.refresh.transaction import ClaimTransaction
from spotify_auth.secrecy import forgets_variables
from spotify_auth.sentences import why_reconnect, why_recovered, why_suspected

_EVENT = f"""
INSERT INTO {EVENTS} (
    user_id, at, cause, asked_by, outcome, generation_before, generation_after, rotated,
    lifetime_granted, lifetime_used, duration_ms, worker, error, ended_trouble)
SELECT user_id, clock_timestamp(), %(cause)s, %(requested_by)s, %(outcome)s, %(generation)s,
       generation, %(rotated)s, %(expires_in)s, %(lifetime_used)s, %(duration_ms)s, %(worker)s,
       %(error)s, %(ended_trouble)s
FROM written
"""  # noqa: S608  (every value is a parameter)
# Its defaults say the rest: see `history.tables.IS_ROUTINE`.
_ROUTINE_EVENT = f"""
INSERT INTO {ROUTINE} (
    user_id, generation_before, generation_after, rotated, lifetime_granted, lifetime_used,
    duration_ms)
SELECT user_id, %(generation)s, generation, %(rotated)s, %(expires_in)s, %(lifetime_used)s,
       %(duration_ms)s
FROM written
"""  # noqa: S608  (every value is a parameter)
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

# What is changed, and its event.
_ALONE = f"WITH written AS ({{change}}) {_EVENT}"
_ROUTINE = f"WITH written AS ({{change}}) {_ROUTINE_EVENT}"
# The same with a notice, for a change of state. A suspicion may have begun after the claim whose
# grant is stored late: its notice says so, unless an operator has ended it since. A token that an
# administrator has paused, or judged, stays as it is: it has not recovered.
_WITH_NOTICE = f"""
WITH written AS ({{change}}), notice AS (
    {outbox.INSERT} FROM written
    WHERE status = %(notice_status)s AND (%(notice_sure)s OR (
        SELECT before.kind = '{Kind.SUSPECTED}' FROM spotify_auth_notice AS before
        WHERE before.user_id = written.user_id
          AND before.kind IN ('{Kind.SUSPECTED}', '{Kind.RECOVERED}', '{Kind.TOKEN_RESUMED}')
          AND before.data -> 'generation' = to_jsonb(%(generation)s)
        ORDER BY before.at DESC LIMIT 1
    ))
    {outbox.ONCE}
) {_EVENT}
RETURNING (SELECT id FROM notice), (SELECT at FROM notice)
"""  # noqa: S608  (every value is a parameter)
_STORE_GRANT = f"""
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
    RETURNING user_id, generation, status
"""  # noqa: S608  (every value is a parameter)
_STORE_GRANT_OF_ANYBODY = _STORE_GRANT.format(due_at=_DUE)
_STORE_GRANT_UNLESS_DORMANT = _STORE_GRANT.format(due_at=_DUE_UNLESS_DORMANT)
# Routine refreshes (`history.tables.IS_ROUTINE`). A row says that the fence let the write through.
KEPT = {
    change: KeptStatement(
        purpose=purpose,
        text=f"{_ROUTINE.format(change=change)} RETURNING 1",
        columns=(("stored", "integer"),),
    )
    for purpose, change in (
        ("store", _STORE_GRANT_OF_ANYBODY),
        ("store_unless_dormant", _STORE_GRANT_UNLESS_DORMANT),
    )
}
_STORE_FAILURE = f"""
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
    RETURNING user_id, generation, status
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


class Applied(NamedTuple):
    """What came of writing a decision."""

    stored: bool
    """False if the generation check rejected it."""
    notice: tuple[Draft, Written] | None = None
    """What to announce once everything else is done."""


def apply(
    transaction: ClaimTransaction, claim: Claim, decision: Decision, *, duration: float
) -> Applied:
    """Write a decision and commit it.

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
            change = _STORE_GRANT_UNLESS_DORMANT if unless_dormant else _STORE_GRANT_OF_ANYBODY
            parameters = {**fence, **event, **_pair(claim, write)}
            if claim.is_healthy and write.cause == Cause.SCHEDULE:
                with kept(KEPT[change]) as sql:
                    row = transaction.commit_returning(sql, parameters)
                return Applied(row is not None)
            parameters["ended_trouble"] = not claim.is_healthy
            parameters["notice_sure"] = claim.suspected or claim.is_appeal
            return _commit(transaction, change, parameters, _recovery(claim, write))
        case StoreFailure() as write:
            parameters = {**fence, **event, **_failure(write, decision)}
            parameters["notice_sure"] = True
            return _commit(transaction, _STORE_FAILURE, parameters, _trouble(claim, decision))
        case Postpone(due_in=due_in):
            written = transaction.commit(_POSTPONE, {**fence, "due_in": due_in})
        case PutOff(error=error, due_in=due_in):
            written = transaction.commit(_PUT_OFF, {**fence, "due_in": due_in, "error": error})
    return Applied(written == 1)


def announce(claim: Claim, decision: Decision, applied: Applied) -> None:
    """Send the signals about what `apply` has committed."""
    if applied.notice:
        outbox.announce(*applied.notice)
    if applied.stored and isinstance(decision.write, StoreGrant):
        outbox.announce_refresh(
            user_id=claim.user_id,
            generation=claim.generation + 1,
            issued_at=decision.write.issued_at,
            reason=decision.write.cause,
        )


@cache
def _statement(form: str, change: str) -> str:
    return form.format(change=change)


def _commit(
    transaction: ClaimTransaction, change: str, parameters: dict[str, Any], draft: Draft | None
) -> Applied:
    if draft is None:
        return Applied(transaction.commit(_statement(_ALONE, change), parameters) == 1)
    parameters |= {**draft.parameters, "notice_status": draft.arguments["status"]}
    row = transaction.commit_returning(_statement(_WITH_NOTICE, change), parameters)
    if row is None:
        return Applied(False)
    notice_id, at = row
    return Applied(True, None if notice_id is None else (draft, Written(notice_id, at)))


def _recovery(claim: Claim, write: StoreGrant) -> Draft | None:
    """What a grant ends; None for one after which everything is as before."""
    if not (claim.suspected or claim.is_appeal or write.cause == Cause.RESCUE):
        return None
    after_verdict = claim.is_appeal
    return outbox.of_token(
        Kind.RECOVERED,
        user_id=claim.user_id,
        generation=claim.generation + 1,
        status=SpotifyToken.Status.ACTIVE,
        reason="after_verdict" if after_verdict else "after_suspicion",
        sentence=why_recovered(after_verdict=after_verdict),
    )


def _trouble(claim: Claim, decision: Decision) -> Draft | None:
    """What a failure begins: the first refusal, or a verdict. None for all that follow."""
    write = decision.write
    if not isinstance(write, StoreFailure) or claim.is_appeal:
        return None
    if decision.outcome is Outcome.RECONNECT_REQUIRED:
        kind, sentence = Kind.RECONNECT_REQUIRED, why_reconnect(write.error)
    elif decision.outcome is Outcome.SUSPECTED and not claim.suspected:
        kind, sentence = Kind.SUSPECTED, why_suspected(write.error)
    else:
        return None
    return outbox.of_token(
        kind,
        user_id=claim.user_id,
        generation=claim.generation,
        status=write.status,
        reason=write.error,
        sentence=sentence,
    )


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
        "ended_trouble": False,
        "error": write.error,
    }
