"""The WRITE side's heart: refresh one token under its row lock.

`refresh_next` and `refresh_user` each claim at most one due token, exchange it and
write the result, in one transaction. The row lock of the claim is held over the HTTP
call on purpose: it is what makes a doubled or lost rotation impossible.
"""

import logging
import random
import time
from collections.abc import Callable
from functools import partial

from django.db import DataError, IntegrityError, connection, transaction

from spotify_auth import cooldown
from spotify_auth.accounts_service.errors import (
    AccountsServiceError,
    AnswerUnknown,
    ClientRefused,
    GrantRefused,
    RateLimited,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.accounts_service.refreshing import refresh
from spotify_auth.claims import Claim, claim_for_probe, claim_next, claim_of_user
from spotify_auth.cooldown import (
    CLIENT_REFUSED_SECONDS,
    OUTAGE_SECONDS,
    RATE_LIMITED_SECONDS,
    Admission,
    Reason,
)
from spotify_auth.encryption import DecryptionError
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.results import write_failure, write_grant
from spotify_auth.verdicts import judge

logger = logging.getLogger(__name__)

_OTHERS_WERE_REFRESHED = """
SELECT EXISTS (SELECT FROM spotify_auth_spotifytoken AS other
               WHERE other.user_id <> token.user_id AND other.refreshed_at > token.suspected_at)
    OR NOT EXISTS (SELECT FROM spotify_auth_spotifytoken AS other
                   WHERE other.user_id <> token.user_id AND other.status = 'active')
FROM spotify_auth_spotifytoken AS token
WHERE token.user_id = %s
"""


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
    return _refresh(partial(claim_of_user, user_id), probing=admission is Admission.PROBE)


def _refresh(take: Callable[[], Claim | None], *, probing: bool) -> Outcome | None:
    """One claim, one exchange, one write. A probe always ends or hands on its task."""
    claim: Claim | None = None
    outcome: Outcome | None = None
    try:
        with transaction.atomic():
            claim = take()
            if claim is not None:
                outcome = _exchange_and_write(claim, probing=probing)
    except (DataError, IntegrityError) as error:
        # The database cannot hold this answer. Left as it is, the row would be claimed
        # first, for ever, by every lane.
        logger.error(
            "unstorable user_id=%s reason=%s", claim and claim.user_id, type(error).__name__
        )
        outcome = _back_off(claim) if claim else None
    finally:
        if probing and outcome is Outcome.REFRESHED:
            cooldown.end()
        elif probing:
            cooldown.another_may_probe()
    return outcome


def _exchange_and_write(claim: Claim, *, probing: bool) -> Outcome | None:
    """The part under the lock. None if the whole service pauses and the row stays as it is."""
    started = time.monotonic()
    try:
        grant = _exchange(claim)
    except RateLimited as error:
        seconds = error.retry_after if error.retry_after is not None else RATE_LIMITED_SECONDS
        cooldown.start(Reason.RATE_LIMITED, seconds=seconds)
        return None
    except ClientRefused as error:
        logger.error("client_refused error=%s", error.code)
        cooldown.start(Reason.CLIENT_REFUSED, seconds=CLIENT_REFUSED_SECONDS)
        return None
    except GrantRefused as error:
        believable = not _is_outage(probing=probing) and _others_were_refreshed(claim)
        return _fail(claim, error, started, believable=believable)
    except AccountsServiceError as error:
        return _fail(claim, error, started)
    except DecryptionError as error:
        logger.error("undecryptable user_id=%s reason=%s", claim.user_id, error)
        return _fail(claim, AccountsServiceError("undecryptable"), started)
    kept = write_grant(claim, grant, duration=time.monotonic() - started)
    return Outcome.REFRESHED if kept else _late(claim)


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
    with transaction.atomic():
        return _fail(claim, AccountsServiceError("unstorable"), time.monotonic())


def _is_outage(*, probing: bool) -> bool:
    """Whether so many are refused that the fault must be Spotify's; then all pause."""
    outage = cooldown.is_outage() or probing
    if outage:
        cooldown.start(Reason.OUTAGE, seconds=OUTAGE_SECONDS)
    return outage


def _others_were_refreshed(claim: Claim) -> bool:
    """Whether Spotify has served somebody else since it first refused this token.

    This guards also a service with so few users that no number of refusals is "many".
    Who is alone is believed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS_WERE_REFRESHED, [claim.user_id])
        return bool(cursor.fetchone()[0])


def _exchange(claim: Claim) -> Grant:
    refresh_token = SpotifyToken.unseal("refresh_token", claim.refresh_token, user_id=claim.user_id)
    try:
        return refresh(refresh_token)
    except AnswerUnknown:
        # Once more, at once: a server with a grace window still takes the old token.
        return refresh(refresh_token)
