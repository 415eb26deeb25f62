"""The READ side: the only module that request code may import for tokens.

Reading is one plain SELECT: it never waits for a row lock, never refreshes and never
calls Spotify. A reader who needs a token refreshed nudges, and does not wait for it.
"""

import logging
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import TypeAlias
from uuid import UUID

from asgiref.sync import sync_to_async
from celery import current_app
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import Error, connection, transaction
from kombu.exceptions import OperationalError as BrokerError

from spotify_auth import prepared_statements
from spotify_auth.accounts_service import spotify
from spotify_auth.conf import settings
from spotify_auth.database_faults import leave_standby
from spotify_auth.encryption import DecryptionError
from spotify_auth.failure_codes import FailureCode
from spotify_auth.lasting import Lasting
from spotify_auth.models import Cause, SpotifyToken, UserId
from spotify_auth.read_outcomes import outcomes
from spotify_auth.text import for_the_log, one_line

logger = logging.getLogger(__name__)

_no_broker = Lasting()

UserOrId: TypeAlias = AbstractBaseUser | AnonymousUser | UserId
"""A user, as a request has it, or a primary key."""

# With PostgreSQL's clock, the only one that counts. The casts are for `prepared_statements`.
_READ = """
SELECT status::text, access_token, extract(epoch FROM expires_at)::double precision,
       extract(epoch FROM expires_at - now())::double precision, scope::text, generation::bigint,
       last_error::text
FROM spotify_auth_spotifytoken
WHERE user_id = %s
"""
# A token that is backing off is not dormant; a locked row is being refreshed already. Skip both.
_WAKE = """
UPDATE spotify_auth_spotifytoken SET due_at = now()
WHERE user_id = (
    SELECT user_id FROM spotify_auth_spotifytoken
    WHERE user_id = %s AND status = 'active' AND failures = 0 AND due_at > expires_at
    FOR UPDATE SKIP LOCKED
)
"""
# SKIP LOCKED: a locked row is being refreshed at this moment, or its user is changing it.
# "Due since its issue" puts the token before all that are due by the schedule, and marks
# it: a hundred complaints about one generation change the row once. A token that was refreshed
# "in the future" dates from a clock that was ahead: it counts as old, and is due now. So does
# one that failed, and is put off for longer than any back-off lasts.
_NUDGE = """
UPDATE spotify_auth_spotifytoken
SET due_at = least(refreshed_at, now()), due_cause = %(cause)s, asked_by = %(asked_by)s
WHERE user_id = (
    SELECT user_id FROM spotify_auth_spotifytoken
    WHERE user_id = %(user_id)s AND generation = %(generation)s AND status = 'active'
      AND due_at > refreshed_at
      AND (%(by_admin)s OR refreshed_at > clock_timestamp() OR
           now() - refreshed_at > least(interval '30 seconds', (expires_at - refreshed_at) * 0.1))
      AND (suspected_at IS NULL AND (failures = 0 OR %(by_admin)s)
           OR due_at > clock_timestamp() + interval '2 hours')
    FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessToken:
    """A fresh access token. `expires_at` is in UTC, by PostgreSQL's clock."""

    value: str = field(repr=False)
    expires_at: datetime
    scopes: frozenset[str]
    generation: int


class TokenUnavailable(Exception):
    """There is no fresh access token for this user.

    TokenUnavailable
    |-- NotConnected        never connected, disconnected, or revoked here
    |-- ReconnectRequired   Spotify refused the refresh token: the user must approve again
    |-- RefreshPaused       an administrator has paused its refreshing, and it has expired
    `-- TokenStale          connected, but not refreshed in time: it will be, by itself
    """

    outcome = "not_connected"
    """What it counts as: one of `read_outcomes.OUTCOMES`."""


class NotConnected(TokenUnavailable):
    """This user has no Spotify token."""


class ReconnectRequired(TokenUnavailable):
    """Spotify no longer accepts this user's refresh token.

    `reason` is what the row's `last_error` says: invalid_grant, answer_lost,
    six_months_over, client_refused, backup_restored, required_by_admin or undecryptable.
    """

    outcome = "reconnect_required"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefreshPaused(TokenUnavailable):
    """An administrator has paused this user's token, and the access token has expired since.

    It ends when an administrator resumes the token, or when the user logs in.
    """

    outcome = "paused"


class TokenStale(TokenUnavailable):
    """The access token has too little life left. `generation` is what to nudge about."""

    outcome = "stale"

    def __init__(self, generation: int) -> None:
        super().__init__(f"generation {generation} is stale")
        self.generation = generation


def primary_key_of(user: UserOrId) -> UserId:
    """A user's primary key. Raises NotConnected for a visitor who is not logged in."""
    user_id: UserId | None = user if isinstance(user, int | str | UUID) else user.pk
    if user_id is None:
        raise NotConnected("nobody is logged in")
    return user_id


def access_token_for(user: UserOrId, *, minimum_seconds: float | None = None) -> AccessToken:
    """Read a user's access token, with at least `minimum_seconds` of life left.

    `user` is a user or a primary key. The default is ACCESS_TOKEN_MINIMUM_SECONDS; a long
    job may ask for more. Raises NotConnected, ReconnectRequired, RefreshPaused or TokenStale.
    """
    try:
        token = _access_token_for(user, minimum_seconds=minimum_seconds)
    except TokenUnavailable as error:
        outcomes.count(error.outcome)
        raise
    outcomes.count("fresh")
    return token


async def aaccess_token_for(user: UserOrId, *, minimum_seconds: float | None = None) -> AccessToken:
    """The same for an async view. Its event loop does not wait.

    As Django's own `aget()` it reads in the request's thread, over that thread's connection: it
    sees a transaction that `sync_to_async` code has begun. docs/how-to/read-in-async-views.md
    says how such a thread gets its connection from a pool.
    """
    return await sync_to_async(access_token_for)(user, minimum_seconds=minimum_seconds)


def _access_token_for(user: UserOrId, *, minimum_seconds: float | None) -> AccessToken:
    user_id = primary_key_of(user)
    if minimum_seconds is None:
        minimum_seconds = settings.ACCESS_TOKEN_MINIMUM_SECONDS
    with prepared_statements.cursor() as cursor:
        cursor.execute(_READ, [user_id])
        row = cursor.fetchone()
    if row is None:
        raise NotConnected("this user never connected")
    status, sealed, expires_at, life_left, scope, generation, last_error = row
    if status == SpotifyToken.Status.RECONNECT_REQUIRED:
        raise ReconnectRequired(last_error)
    if status not in {SpotifyToken.Status.ACTIVE, SpotifyToken.Status.PAUSED}:
        raise NotConnected(f"the token is {status}")
    if life_left <= minimum_seconds:
        if last_error == FailureCode.UNDECRYPTABLE:
            raise ReconnectRequired(last_error)  # no refresh can mend it
        if status == SpotifyToken.Status.PAUSED:
            raise RefreshPaused("an administrator has paused the token")
        raise TokenStale(generation)
    try:
        value = SpotifyToken.unseal("access_token", sealed, user_id=user_id)
    except DecryptionError as error:
        logger.error("undecryptable user_id=%s reason=%s", user_id, error)
        raise ReconnectRequired(FailureCode.UNDECRYPTABLE) from None
    return AccessToken(
        value=value,
        # Django's own conversion of a timestamp took a tenth of the read.
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        scopes=spotify.scopes_of(scope),
        generation=generation,
    )


def nudge(user_id: UserId, *, generation: int, cause: Cause, requested_by: str = "") -> bool:
    """Ask for a refresh soon, and do not wait. True if this call made the difference.

    `requested_by` names the page or the administrator, for the history.

    A complaint about a generation that has passed, that was nudged already or that is
    being refreshed at this moment changes nothing. Nor, unless an administrator asks,
    does one about a token that is backing off after a failure, or that was refreshed a
    moment ago (30 s, or a tenth of its life): a Web API that refuses good tokens must not
    cause a refresh at each page. A lost broker costs time only: the next sweep finds the
    row. A database that refuses costs a line in the log; only an administrator's nudge
    raises django.db.Error.
    """
    try:
        return _nudge(user_id, generation=generation, cause=cause, requested_by=requested_by)
    except Error as error:
        if cause is Cause.ADMIN:
            raise
        leave_standby(error)
        logger.warning("nudge_refused user_id=%s reason=%s", user_id, type(error).__name__)
        return False


def _nudge(user_id: UserId, *, generation: int, cause: Cause, requested_by: str) -> bool:
    # A savepoint, if a transaction is open: an error must not spoil that.
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                _NUDGE,
                {
                    "user_id": user_id,
                    "generation": generation,
                    "cause": cause,
                    "asked_by": one_line(requested_by)[:100],
                    "by_admin": cause is Cause.ADMIN,
                },
            )
            changed = bool(cursor.rowcount)
        if changed:
            logger.info(
                "nudged user_id=%s generation=%s cause=%s asked_by=%s",
                user_id,
                generation,
                cause,
                for_the_log(requested_by),
            )
            if current_app.conf.task_always_eager:
                return changed  # a project's tests: there is no worker, and perhaps no broker
            # In a thread of its own: a broker that hangs must not hold the request. With the
            # request's context variables, in which a project may keep an id for its log.
            wake = Thread(target=copy_context().run, args=(_wake_a_worker, user_id), daemon=True)
            transaction.on_commit(wake.start)
    return changed


def wake(user_id: UserId) -> bool:
    """Let a dormant token be due now, and do not wait for it; True if it was dormant.

    It is, once its user was not seen for REFRESH_DORMANT_AFTER days. Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAKE, [user_id])
        return bool(cursor.rowcount)


def _wake_a_worker(user_id: UserId) -> None:
    try:
        # By name, since the task's module imports the refresh path.
        current_app.send_task("spotify_auth.refresh", args=[user_id], retry=False)
    except BrokerError as error:
        if _no_broker.begins():
            logger.warning("nudge_not_sent user_id=%s reason=%s", user_id, type(error).__name__)
    else:
        if _no_broker.ends():
            logger.warning("nudges_sent")
