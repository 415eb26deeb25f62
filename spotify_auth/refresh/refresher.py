"""The WRITE side's heart: refresh one token under its row lock.

`refresh_next` and `refresh_user` each claim at most one due token, exchange it and
write the result, in one transaction. The row lock of the claim is held over the HTTP
call on purpose: it is what makes a doubled or lost rotation impossible. In a lane the
message that writes brings the next claim (`lanes.run_lane`).
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.db import DataError, Error, IntegrityError, connection

from spotify_auth import cooldown
from spotify_auth.accounts_service.errors import (
    AccountsServiceError,
    AnswerUnknown,
    AnswerUnreadable,
    ClientRefused,
    GrantRefused,
    RateLimited,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.accounts_service.refreshing import refresh
from spotify_auth.cooldown import (
    CLIENT_REFUSED_SECONDS,
    OUTAGE_SECONDS,
    RATE_LIMITED_SECONDS,
    UNAVAILABLE_SECONDS,
    Admission,
    Reason,
)
from spotify_auth.encryption import DecryptionError
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh import attempts
from spotify_auth.refresh.claims import Claim, claim_for_probe, claim_next, claim_of_user
from spotify_auth.refresh.decisions import judge
from spotify_auth.refresh.history import (
    an_answer_was_lost,
    is_outage,
    nobody_is_answered,
    others_were_refreshed,
)
from spotify_auth.refresh.store import put_off, write_failure, write_grant
from spotify_auth.refresh.transaction import joined_transaction
from spotify_auth.tokens import UNDECRYPTABLE

logger = logging.getLogger(__name__)

ANSWER_LOST, SIX_MONTHS_OVER = "answer_lost", "six_months_over"
"""Why a refresh token was refused, where we know more than Spotify says."""

IN_DOUBT_SECONDS = 2.0
RETRY_SECONDS = 0.5
LAST_TRIES_SECONDS = 10.0

stopping = threading.Event()
"""Set when this process has been told to stop."""


def refresh_next() -> Outcome | None:
    """Refresh the most urgent due token that nobody else holds.

    None if there is none, or if a cool-down is on. Raises django.db.Error when
    PostgreSQL fails.
    """
    admission = cooldown.admit()
    if admission is Admission.PAUSED:
        return None
    probing = admission is Admission.PROBE
    return _refresh(claim_for_probe if probing else claim_next, probing=probing)


def refresh_user(user_id: int) -> Outcome | None:
    """Refresh one user's token if it is due, nobody else holds it and no cool-down is on.

    However often it is called, a token is refreshed once: the claim asks again, under
    the lock, whether it is due. Raises django.db.Error when PostgreSQL fails.
    """
    admission = cooldown.admit()
    if admission is Admission.PAUSED:
        return None
    try:
        return _refresh(partial(claim_of_user, user_id), probing=admission is Admission.PROBE)
    finally:
        attempts.sweep_up()


def _refresh(take: Callable[[], Claim | None], *, probing: bool) -> Outcome | None:
    """One claim, one exchange, one write. A probe always ends or hands on its task."""
    work = _Work()
    try:
        with joined_transaction():
            work.claim = take()
            if work.claim is not None:
                work.outcome = _under_the_lock(work, work.claim, probing=probing)
    except (DataError, IntegrityError) as error:
        # The database cannot hold this answer. Left as it is, the row would be claimed
        # first, for ever, by every lane.
        logger.error("unstorable reason=%s", type(error).__name__)
        work.unanswered |= work.grant is not None
        work.outcome = _back_off(work.claim) if work.claim else None
    except Error:
        if work.claim and work.grant:
            _rescue(work.claim, work.grant)
        else:
            _end(work)
        raise
    except BaseException:
        # Whatever else ends this lane, what Spotify granted must outlive it.
        if work.claim and work.grant and not work.replayed:
            attempts.keep(work.claim.user_id, work.claim.generation, work.grant)
        raise
    finally:
        if probing and work.grant and not work.replayed:
            cooldown.end()
        elif probing:
            cooldown.another_may_probe()
    _end(work)
    return work.outcome


@dataclass(slots=True)
class _Work:
    """What has become of one refresh so far, for those who must clean up after it."""

    claim: Claim | None = None
    grant: attempts.Rescued | None = None
    """What Spotify granted and the database may not hold yet."""
    replayed: bool = False
    """It was granted earlier, and tells nothing about Spotify now."""
    in_doubt: bool = False
    unanswered: bool = False
    """Spotify may have rotated without our knowing the new token."""
    outcome: Outcome | None = None


def _end(work: _Work) -> None:
    if work.claim and not work.in_doubt:
        attempts.end(
            work.claim.user_id,
            work.claim.generation,
            unanswered=work.unanswered,
            passed=work.outcome is Outcome.REFRESHED,
        )


def _under_the_lock(work: _Work, claim: Claim, *, probing: bool) -> Outcome | None:
    """None if the row stays as it is: all pause, or another attempt may still come back."""
    started = time.monotonic()
    earlier = attempts.begin(claim.user_id, claim.generation)
    work.unanswered = earlier.unanswered
    try:
        if earlier.rescued:
            work.grant, cause, work.replayed = earlier.rescued, Cause.RESCUE.value, True
        elif earlier.in_doubt:
            work.in_doubt = True
            put_off(claim, seconds=IN_DOUBT_SECONDS)
            return Outcome.RETRY
        else:
            work.grant, cause = _granted(work, claim), claim.cause
    except RateLimited as error:
        seconds = error.retry_after if error.retry_after is not None else RATE_LIMITED_SECONDS
        cooldown.start(Reason.RATE_LIMITED, seconds=seconds)
        return None
    except ClientRefused as error:
        logger.error("client_refused error=%s", error.code)
        cooldown.start(Reason.CLIENT_REFUSED, seconds=CLIENT_REFUSED_SECONDS)
        return None
    except GrantRefused:
        # A token that was refused before tells nothing about Spotify when it probes.
        outage = _is_outage(claim, probing=probing and not claim.suspected)
        believable = claim.suspected and not outage and others_were_refreshed(claim)
        work.unanswered |= an_answer_was_lost(claim)
        why = _why_refused(claim, lost=work.unanswered)
        outcome = _fail(claim, why, started, believable=believable)
        if outcome is Outcome.RECONNECT_REQUIRED:
            work.unanswered = False
        return outcome
    except AccountsServiceError as error:
        if probing or nobody_is_answered():
            cooldown.start(Reason.UNAVAILABLE, seconds=UNAVAILABLE_SECONDS)
        return _fail(claim, error, started)
    except DecryptionError as error:
        logger.error("undecryptable user_id=%s reason=%s", claim.user_id, error)
        return _fail(claim, AccountsServiceError(UNDECRYPTABLE), started)
    kept = write_grant(
        claim,
        work.grant.grant,
        issued_at=work.grant.issued_at,
        cause=cause,
        duration=time.monotonic() - started,
    )
    work.unanswered = False
    if kept and earlier.rescued:
        logger.warning("rescue_replayed user_id=%s generation=%s", claim.user_id, claim.generation)
    return Outcome.REFRESHED if kept else _late(claim)


def _granted(work: _Work, claim: Claim) -> attempts.Rescued:
    try:
        return attempts.Rescued(grant=_exchange(claim), issued_at=claim.claimed_at)
    except AccountsServiceError as error:
        # Before anything else: what follows asks the database, which may fail.
        work.unanswered |= error.unanswered
        raise


def _rescue(claim: Claim, grant: attempts.Rescued) -> None:
    """Keep a grant that PostgreSQL did not take, in Redis or else in this thread.

    With both away the lane holds it and tries until one of them is back, or until the
    process has been told to stop for a while: that is the last moment of this pair.
    """
    give_up: float | None = None
    while not attempts.keep(claim.user_id, claim.generation, grant):
        if _stored_directly(claim, grant):
            return
        if stopping.is_set():
            give_up = give_up or time.monotonic() + LAST_TRIES_SECONDS
            if time.monotonic() > give_up:
                logger.error("grant_lost user_id=%s generation=%s", claim.user_id, claim.generation)
                return
        time.sleep(RETRY_SECONDS)
    logger.warning("rescue_stored user_id=%s generation=%s", claim.user_id, claim.generation)


def _stored_directly(claim: Claim, grant: attempts.Rescued) -> bool:
    try:
        connection.close()
        # If the COMMIT had come through after all, the fence keeps this one out.
        kept = write_grant(
            claim, grant.grant, issued_at=grant.issued_at, cause=Cause.RESCUE, duration=0
        )
    except Error as error:
        logger.warning("rescue_waits user_id=%s reason=%s", claim.user_id, type(error).__name__)
        return False
    if kept:
        logger.warning("rescue_replayed user_id=%s generation=%s", claim.user_id, claim.generation)
    return True


def _why_refused(claim: Claim, *, lost: bool) -> GrantRefused:
    if claim.six_months_over:
        return GrantRefused(SIX_MONTHS_OVER)
    return GrantRefused(ANSWER_LOST if lost else "invalid_grant")


def _fail(
    claim: Claim, error: AccountsServiceError, started: float, *, believable: bool = True
) -> Outcome:
    verdict = judge(claim, error, believable=believable, fraction=random.random())  # noqa: S311
    kept = write_failure(claim, verdict, duration=time.monotonic() - started)
    return verdict.outcome if kept else _late(claim)


def _late(claim: Claim) -> Outcome:
    """The fence kept a result out: the lock was lost with its connection, and taken."""
    logger.warning("late_result user_id=%s generation=%s", claim.user_id, claim.generation)
    return Outcome.RETRY


def _back_off(claim: Claim) -> Outcome:
    return _fail(claim, AnswerUnreadable("unstorable"), time.monotonic())


def _is_outage(claim: Claim, *, probing: bool) -> bool:
    """Whether so many are refused that the fault must be Spotify's; then all pause."""
    outage = is_outage(claim) or probing
    if outage:
        cooldown.start(Reason.OUTAGE, seconds=OUTAGE_SECONDS)
    return outage


def _exchange(claim: Claim) -> Grant:
    refresh_token = SpotifyToken.unseal("refresh_token", claim.refresh_token, user_id=claim.user_id)
    try:
        return refresh(refresh_token)
    except AnswerUnknown:
        # Once more, at once: a server with a grace window still takes the old token.
        try:
            return refresh(refresh_token)
        except AccountsServiceError as error:
            error.unanswered = True
            raise
