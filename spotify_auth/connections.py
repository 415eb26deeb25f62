"""The WRITE side's doors for people: connect, disconnect, revoke.

Each takes the same row lock as a lane does, so none of them meets a refresh half way:
it waits until the exchange in hand is committed, at the most `lock_timeout`.
"""

import logging
import random
from datetime import datetime

from django.db import connection, transaction
from django.db.models.functions import Now

from spotify_auth import schedule
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent

logger = logging.getLogger(__name__)

# One statement, so that two first log-ins of one person cannot both insert. A grant
# whose exchange began before the one that is stored, or before the tokens were erased,
# came too late and is left out.
_CONNECT = """
INSERT INTO spotify_auth_spotifytoken AS token (
    user_id, status, access_token, refresh_token, scope, generation, authorized_at,
    reauthorize_by, refreshed_at, expires_at, due_at, due_cause, failures, last_error)
VALUES (
    %(user_id)s, 'active', %(access_token)s, %(refresh_token)s, %(scope)s, 1, %(issued_at)s,
    %(issued_at)s::timestamptz + interval '6 months', %(issued_at)s,
    %(issued_at)s::timestamptz + make_interval(secs => %(expires_in)s),
    %(issued_at)s::timestamptz + make_interval(secs => %(due_in)s), 'schedule', 0, '')
ON CONFLICT (user_id) DO UPDATE SET
    status = excluded.status, access_token = excluded.access_token,
    refresh_token = excluded.refresh_token, scope = excluded.scope,
    generation = token.generation + 1, authorized_at = excluded.authorized_at,
    reauthorize_by = excluded.reauthorize_by, refreshed_at = excluded.refreshed_at,
    expires_at = excluded.expires_at, due_at = excluded.due_at,
    due_cause = excluded.due_cause, asked_by = '',
    failures = 0, suspected_at = NULL, last_error = ''
WHERE token.authorized_at <= excluded.authorized_at
  AND (token.closed_at IS NULL OR token.closed_at <= excluded.authorized_at)
RETURNING generation
"""


def database_now() -> datetime:
    """PostgreSQL's clock, the only one that counts. UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
    return now


def connect(*, user_id: int, grant: Grant, issued_at: datetime) -> None:
    """Store what a log-in was granted: the first pair, or one in place of an older one.

    `issued_at` is `database_now()` from before the exchange. Raises
    django.db.OperationalError when a lane holds the row for longer than an exchange
    can take, ValueError when the grant has no refresh token.
    """
    if grant.refresh_token is None:
        raise ValueError("a log-in's grant must have a refresh token")
    with transaction.atomic(), connection.cursor() as cursor:
        _bound_lock_wait()
        cursor.execute(
            _CONNECT,
            {
                "user_id": user_id,
                "access_token": SpotifyToken.seal(
                    "access_token", grant.access_token, user_id=user_id
                ),
                "refresh_token": SpotifyToken.seal(
                    "refresh_token", grant.refresh_token, user_id=user_id
                ),
                "scope": grant.scope,
                "issued_at": issued_at,
                "expires_in": grant.expires_in,
                "due_in": schedule.refresh_after(
                    grant.expires_in,
                    fraction=random.random(),  # noqa: S311 (jitter)
                ),
            },
        )
        row = cursor.fetchone()
        if row is None:
            logger.info("late_login user_id=%s", user_id)
            return
        TokenEvent.objects.create(
            user_id=user_id,
            cause=Cause.LOGIN,
            outcome=Outcome.CONNECTED,
            generation_after=row[0],
            rotated=True,
            lifetime_granted=grant.expires_in,
        )
    logger.info("connected user_id=%s generation=%s", user_id, row[0])


def disconnect(*, user_id: int) -> bool:
    """Erase both tokens because the person asked for it; False if there were none."""
    return _erase(user_id, SpotifyToken.Status.DISCONNECTED, Cause.DISCONNECT, Outcome.DISCONNECTED)


def revoke(*, user_id: int) -> bool:
    """Erase both tokens because an administrator asked for it; False if there were none.

    Spotify has no revocation endpoint: the person must also remove the application at
    https://www.spotify.com/account/apps/.
    """
    return _erase(user_id, SpotifyToken.Status.REVOKED, Cause.ADMIN, Outcome.REVOKED)


def delete(*, user_id: int) -> None:
    """Delete a person's token and its history; the caller's transaction deletes the person.

    Raises django.db.OperationalError when a lane holds the row for longer than an
    exchange can take.
    """
    _bound_lock_wait()
    SpotifyToken.objects.filter(user_id=user_id).delete()
    TokenEvent.objects.filter(user_id=user_id).delete()


def _erase(user_id: int, status: SpotifyToken.Status, cause: Cause, outcome: Outcome) -> bool:
    with transaction.atomic():
        _bound_lock_wait()
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
        TokenEvent.objects.create(
            user_id=user_id, cause=cause, outcome=outcome, generation_before=token.generation
        )
    logger.info("%s user_id=%s generation=%s", outcome, user_id, token.generation)
    return True


def _bound_lock_wait() -> None:
    longest = schedule.longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{longest}s"])
