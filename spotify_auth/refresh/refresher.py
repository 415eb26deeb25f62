"""The WRITE side's heart: refresh one token under its row lock.

`refresh_next` and `refresh_user` each claim at most one due token, exchange it and store
the result, in one transaction. The row lock of the claim is held over the HTTP call on
purpose: it is what makes a doubled or lost rotation impossible.
"""

import logging
import random
import time
import traceback
from contextlib import suppress

from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError

from spotify_auth import cooldown
from spotify_auth.accounts_service import refreshing
from spotify_auth.accounts_service.answers import Answer, AnswerLost, ClientRefused
from spotify_auth.accounts_service.transport import Transport
from spotify_auth.encryption import DecryptionError
from spotify_auth.models import Outcome, UserId
from spotify_auth.notices import pauses
from spotify_auth.refresh import claims, history, store
from spotify_auth.refresh.attempts import Attempt
from spotify_auth.refresh.claims import Claim, Find
from spotify_auth.refresh.decisions import (
    Deactivated,
    OwnAnswer,
    Undecryptable,
    Unforeseen,
    Unstorable,
    decide,
)
from spotify_auth.refresh.history import Evidence
from spotify_auth.refresh.lane import Lane
from spotify_auth.refresh.outcome_log import log_outcome
from spotify_auth.refresh.plans import NotKept
from spotify_auth.refresh.process import process
from spotify_auth.refresh.transaction import ClaimTransaction
from spotify_auth.secrecy import forgets_variables

logger = logging.getLogger(__name__)


class PermitComes(Exception):
    """The pace has no permit at this moment; the lane knows when its own will come."""


class ProbeTellsNothing(Exception):
    """The claimed token has a failure of its own, so it cannot tell whether a fault is over."""


def refresh_next(lane: Lane) -> Outcome | None:
    """Refresh the most urgent due token that no other lane holds.

    None ends the lane: no token is due, or the lane may not ask Spotify now. Raises PermitComes
    when it may soon, and django.db.Error when PostgreSQL fails.
    """
    try:
        return refresh(claims.most_urgent, lane) or refresh(claims.for_appeal, lane)
    except ProbeTellsNothing:
        return refresh(claims.for_probe, lane)


def refresh_user(user_id: UserId) -> Outcome | None:
    """Refresh one user's token if it is due, no other lane holds it and Spotify may be asked.

    However often it is called, a token is refreshed once: the claim checks again, under
    the lock, whether it is due. Raises django.db.Error when PostgreSQL fails.
    """
    with Lane() as lane, suppress(ProbeTellsNothing):
        return refresh(claims.of_user(user_id), lane)
    return None


def refresh(find: Find, lane: Lane) -> Outcome | None:
    """Claim, ask, decide, store: one token, one exchange, one commit.

    Once more if a function was missing: then by the statement itself. A grant that was received
    is saved by then, and the second claim stores it.
    """
    try:
        return _refresh(find, lane)
    except NotKept:
        return _refresh(find, lane)


def _refresh(find: Find, lane: Lane) -> Outcome | None:
    claim, began, pause_changed = None, time.monotonic(), False
    try:
        with ClaimTransaction() as transaction:
            claim = find(transaction)
            if claim is None:
                return None
            with lane.attempts.track(claim) as attempt:
                if not attempt.admitted:
                    process.due.rewind()
                    if lane.attempts.permit.comes:
                        raise PermitComes
                    return None
                if attempt.is_probe and not claim.is_healthy:
                    raise ProbeTellsNothing
                answer = (
                    attempt.known_answer
                    or (Deactivated() if claim.deactivated else None)
                    or ask(claim, attempt, transaction, lane.transport)
                )
                seen = history.evidence(
                    claim,
                    answer,
                    lost_just_now=attempt.lost_just_now,
                    lost_before=attempt.lost_before,
                )
                decision = decide(claim, answer, seen, attempt.is_probe, random.random())  # noqa: S311
                if decision.pause:
                    seconds = decision.pause.seconds
                    if decision.pause.reason is cooldown.Reason.RATE_LIMITED:
                        seconds = attempt.refused(retry_after=seconds)
                    pause_changed = cooldown.start(decision.pause.reason, seconds=seconds)
                duration = time.monotonic() - began
                applied = store.apply(transaction, claim, decision, duration=duration)
                attempt.settle(decision, stored=applied.stored)
            pause_changed |= attempt.closed_pause
    except (
        PermitComes,
        ProbeTellsNothing,
        NotKept,
        OperationalError,
        InterfaceError,
        InternalError,
    ):
        raise  # this claim was the wrong one, or PostgreSQL has ended the session
    except Exception as error:
        if claim is None:
            raise
        # Left as it is, the row would be claimed first by every lane, for ever. A grant among
        # what was received is saved by now.
        if isinstance(error, DataError | IntegrityError):
            logger.error("unstorable user_id=%s reason=%s", claim.user_id, type(error).__name__)
            problem: OwnAnswer = Unstorable()
        else:
            # Where it happened, and not its message: that may hold a token.
            frames = traceback.format_tb(error.__traceback__)
            logger.error(
                "unforeseen user_id=%s reason=%s frames=%s",
                claim.user_id,
                type(error).__name__,
                "\n" + "".join(frames),
            )
            problem = Unforeseen()
        seen = Evidence()
        decision = decide(claim, problem, seen, False, random.random())  # noqa: S311
        duration = time.monotonic() - began
        with ClaimTransaction() as transaction:
            applied = store.apply(transaction, claim, decision, duration=duration)
    log_outcome(claim, decision, seen, stored=applied.stored, duration=duration)
    store.announce(claim, decision, applied)
    if pause_changed:
        pauses.look()
    return decision.outcome if applied.stored else Outcome.RETRY


@forgets_variables
def ask(
    claim: Claim, attempt: Attempt, transaction: ClaimTransaction, transport: Transport
) -> Answer | Undecryptable:
    """Exchange the refresh token, once more if the answer was lost. An answer is a value.

    Raises django.db.Error, and sends nothing, if the row lock is lost: another worker may
    have refreshed the token, and this one presented it dead.
    """
    try:
        refresh_token = claim.refresh_token()
    except DecryptionError as error:
        logger.error("undecryptable user_id=%s reason=%s", claim.user_id, error)
        return Undecryptable()
    transaction.verify_lock()
    answer = refreshing.refresh(refresh_token, transport, lifetime=claim.lifetime)
    attempt.received(answer)
    if isinstance(answer, AnswerLost):
        # A server with a grace window still takes the old token.
        transaction.verify_lock()
        answer = refreshing.refresh(refresh_token, transport, lifetime=claim.lifetime)
        attempt.received(answer)
    if isinstance(answer, ClientRefused):
        logger.error("client_refused error=%s", answer.code)
    return answer
