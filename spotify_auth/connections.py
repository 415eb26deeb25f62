"""The WRITE side's doors for users: connect, disconnect, revoke, delete.

`adopting.adopt` is the door for tokens that were obtained elsewhere: it stores through here.

Each takes the same row lock as a lane does, so none of them meets a refresh half way:
it waits until the exchange in hand is committed, at most `lock_timeout`.
"""

import logging
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from spotify_auth import schedule
from spotify_auth.accounts_service import spotify
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent, UserId
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft
from spotify_auth.sentences import why_closed, why_connected
from spotify_auth.text import for_the_log, one_line

logger = logging.getLogger(__name__)

# One statement, so that two first logins of one user cannot both insert. Left out is a grant
# whose exchange began before that of an active or paused token, or before the tokens were erased:
# it came too late. A token that Spotify refuses protects nothing, unless an administrator requires
# the reconnect. Nor does a time in the future: the database's clock was ahead when it was written.
# So is a grant of another Spotify account left out, unless the tokens of the former were erased.
# A new pair ends the pause of a token.
# clock_timestamp(), since this statement may have waited for what is newer than its now().
_CONNECT = """
INSERT INTO spotify_auth_spotifytoken AS token (
    user_id, account_id, status, access_token, refresh_token, scope, generation, authorized_at,
    authorized_at_known, reauthorize_by, refreshed_at, expires_at, due_at, due_cause, failures,
    last_error)
VALUES (
    %(user_id)s, %(account_id)s, 'active', %(access_token)s, %(refresh_token)s, %(scope)s, 1,
    %(authorized_at)s, %(authorized_at_known)s,
    %(authorized_at)s::timestamptz + %(grant_lasts)s::interval, %(refreshed_at)s, %(expires_at)s,
    %(due_at)s, 'schedule', 0, '')
ON CONFLICT (user_id) DO UPDATE SET
    account_id = coalesce(excluded.account_id, token.account_id),
    status = excluded.status, access_token = excluded.access_token,
    refresh_token = excluded.refresh_token, scope = excluded.scope,
    generation = token.generation + 1, authorized_at = excluded.authorized_at,
    authorized_at_known = excluded.authorized_at_known,
    reauthorize_by = excluded.reauthorize_by, refreshed_at = excluded.refreshed_at,
    expires_at = excluded.expires_at, due_at = excluded.due_at,
    due_cause = excluded.due_cause, asked_by = '',
    failures = 0, suspected_at = NULL, last_error = ''
WHERE (token.status IN ('disconnected', 'revoked')
       OR token.status = 'reconnect_required' AND token.last_error <> 'required_by_admin'
       OR token.authorized_at <= %(supersedes)s
       OR token.authorized_at > clock_timestamp())
  AND (token.closed_at IS NULL OR token.closed_at <= %(supersedes)s
       OR token.closed_at > clock_timestamp())
  AND (token.account_id IS NULL OR excluded.account_id IS NULL
       OR token.account_id = excluded.account_id
       OR token.status IN ('disconnected', 'revoked'))
RETURNING generation, reauthorize_by
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A token pair that is about to be stored, and what is known of it. Times are in UTC."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    authorized_at: datetime
    """When the user approved; the latest moment that is possible, if it is not known."""
    authorized_at_known: bool = True
    supersedes: datetime
    """The pair of an approval, or an erasing, that is later than this stays."""
    refreshed_at: datetime
    expires_at: datetime
    due_at: datetime
    lifetime: int
    """For the history: how long the access token lives, in seconds, from now on."""
    cause: Cause = Cause.LOGIN


class AccountConflict(Exception):
    """A grant was not stored, because of the Spotify account that it is from.

    AccountConflict
    |-- DifferentAccount   the user has connected another account, and not disconnected it
    `-- AccountTaken       another user's row has this account
    """


class DifferentAccount(AccountConflict):
    """The user has connected another Spotify account."""


class AccountTaken(AccountConflict):
    """The Spotify account belongs to another user."""


def database_now() -> datetime:
    """PostgreSQL's clock, the only one that counts. UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
    return now


def connect(
    *,
    user_id: UserId,
    grant: Grant,
    issued_at: datetime,
    account_id: str | None = None,
    from_disconnected: bool = False,
) -> bool:
    """Store what a login was granted: the first pair, or one in place of an older one.

    `issued_at` is `database_now()` from before the exchange. `account_id` is the Spotify
    account, if it is known. With `from_disconnected` it may be that of another user who has
    disconnected it: not where users log in by their account, since it is how that user comes back.
    False if a newer login whose token is active, or the erasing of the tokens, came first.

    Raises DifferentAccount or AccountTaken, django.db.OperationalError when a lane holds the
    row for longer than an exchange can take, ValueError when the grant has no refresh token.
    """
    if grant.refresh_token is None:
        raise ValueError("a login's grant must have a refresh token")
    fraction = random.random()  # noqa: S311 (jitter)
    pair = Pair(
        access_token=grant.access_token,
        refresh_token=grant.refresh_token,
        scope=grant.scope,
        authorized_at=issued_at,
        supersedes=issued_at,
        refreshed_at=issued_at,
        expires_at=issued_at + timedelta(seconds=grant.expires_in),
        due_at=issued_at
        + timedelta(seconds=schedule.refresh_after(grant.expires_in, fraction=fraction)),
        lifetime=grant.expires_in,
    )
    generation = store(user_id, pair, account_id=account_id, from_disconnected=from_disconnected)
    if generation is None:
        logger.info("late_login user_id=%s", user_id)
        return False
    logger.info("connected user_id=%s generation=%s", user_id, generation)
    return True


@transaction.atomic
def store(
    user_id: UserId, pair: Pair, *, account_id: str | None, from_disconnected: bool = False
) -> int | None:
    """Store a pair with its event and its notice; the new generation, or None if it came late.

    Raises what `connect` does, but for ValueError.
    """
    parameters = {
        **asdict(pair),
        "user_id": user_id,
        "account_id": account_id,
        "grant_lasts": spotify.GRANT_LASTS,
        "access_token": SpotifyToken.seal("access_token", pair.access_token, user_id=user_id),
        "refresh_token": SpotifyToken.seal("refresh_token", pair.refresh_token, user_id=user_id),
    }
    if account_id and from_disconnected:
        _release(account_id, to=user_id)
    _refuse_taken_account(user_id, account_id)
    try:
        return _store(user_id, pair, parameters)
    except IntegrityError:
        # The unique index decides when two users connect one account at the same moment.
        _refuse_taken_account(user_id, account_id)
        raise


@transaction.atomic
def _store(user_id: UserId, pair: Pair, parameters: Mapping[str, Any]) -> int | None:
    bound_lock_wait()
    with connection.cursor() as cursor:
        cursor.execute(_CONNECT, parameters)
        row = cursor.fetchone()
    if row is None:
        _refuse_different_account(user_id, parameters["account_id"])
        return None
    generation: int = row[0]
    outbox.write(
        outbox.of_token(
            Kind.CONNECTED,
            user_id=user_id,
            generation=generation,
            status=SpotifyToken.Status.ACTIVE,
            reason=pair.cause,
            sentence=why_connected(pair.cause),
            further={"reauthorize_by": row[1]},
        )
    )
    TokenEvent.objects.create(
        user_id=user_id,
        cause=pair.cause,
        outcome=Outcome.CONNECTED,
        generation_after=generation,
        rotated=True,
        lifetime_granted=pair.lifetime,
    )
    return generation


def _release(account_id: str, *, to: UserId) -> None:
    """Take an account from another user who has disconnected it, and not from an exported row."""
    bound_lock_wait()
    others = SpotifyToken.objects.filter(account_id=account_id).exclude(user_id=to)
    disconnected = SpotifyToken.Status.DISCONNECTED
    if others.filter(status=disconnected, closed_at__isnull=False).update(account_id=None):
        logger.info("account_released to_user_id=%s", to)


def _refuse_taken_account(user_id: UserId, account_id: str | None) -> None:
    """Raise AccountTaken if another user has the account."""
    others = SpotifyToken.objects.filter(account_id=account_id).exclude(user_id=user_id)
    if account_id and others.exists():
        raise AccountTaken


def _refuse_different_account(user_id: UserId, account_id: str | None) -> None:
    """Raise DifferentAccount if that is why a grant was left out, and not that it came late."""
    open_rows = SpotifyToken.objects.exclude(status__in=SpotifyToken.ERASED)
    known = open_rows.filter(user_id=user_id).values_list("account_id", flat=True).first()
    if account_id and known and known != account_id:
        raise DifferentAccount


def disconnect(*, user_id: UserId) -> bool:
    """Erase both tokens because the user asked for it; False if there were none."""
    event = {"cause": Cause.DISCONNECT, "outcome": Outcome.DISCONNECTED}
    return _erase(user_id, SpotifyToken.Status.DISCONNECTED, event)


def revoke(*, user_id: UserId, requested_by: str = "", reason: str = "") -> bool:
    """Erase both tokens because an administrator asked for it; False if there were none.

    The history keeps who `requested_by` names, and the `reason` in that administrator's words.
    Spotify has no revocation endpoint: the user must also remove the application at
    https://www.spotify.com/account/apps/.
    """
    event = {"cause": Cause.ADMIN, "outcome": Outcome.REVOKED}
    return _erase(
        user_id,
        SpotifyToken.Status.REVOKED,
        {**event, "asked_by": one_line(requested_by)[:100], "reason": one_line(reason)[:200]},
    )


def delete(*, user_id: UserId) -> None:
    """Delete a user's token and its history; the caller's transaction deletes the user.

    Raises django.db.OperationalError when a lane holds the row for longer than an
    exchange can take.
    """
    bound_lock_wait()
    token = SpotifyToken.objects.select_for_update().filter(user_id=user_id).first()
    if token:
        token.delete()
        outbox.write(_end_of_user(user_id, token.generation))
    TokenEvent.objects.filter(user_id=user_id).delete()


def _end_of_user(user_id: UserId, generation: int) -> Draft:
    return Draft(
        kind=Kind.CLOSED,
        user_id=user_id,
        reason="user_deleted",
        sentence=why_closed("user_deleted"),
        further={"generation": generation, "status": "deleted"},
        kept_without_user=True,
    )


def _erase(user_id: UserId, status: SpotifyToken.Status, event: Mapping[str, str]) -> bool:
    with transaction.atomic():
        bound_lock_wait()
        token = (
            SpotifyToken.objects.select_for_update()
            .filter(user_id=user_id, access_token__isnull=False)
            .first()
        )
        if token is None:
            return False
        token.status = status
        token.access_token = token.refresh_token = None
        token.suspected_at = None
        token.save(update_fields=["status", "access_token", "refresh_token", "suspected_at"])
        SpotifyToken.objects.filter(pk=user_id).update(closed_at=Now())
        TokenEvent.objects.create(user_id=user_id, generation_before=token.generation, **event)
        reason = status.value
        outbox.write(
            outbox.of_token(
                Kind.CLOSED,
                user_id=user_id,
                generation=token.generation,
                status=status,
                reason=reason,
                sentence=why_closed(reason),
            )
        )
    if event["outcome"] == Outcome.DISCONNECTED:
        logger.info("disconnected user_id=%s generation=%s", user_id, token.generation)
    else:
        logger.info(
            "revoked user_id=%s generation=%s asked_by=%s",
            user_id,
            token.generation,
            for_the_log(event["asked_by"]),
        )
    return True


def bound_lock_wait() -> None:
    """Wait for a row, in this transaction, no longer than a lane can hold it."""
    longest = schedule.longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{longest}s"])
