"""Tokens as the tests want them: due, expired, read again, and shown to the sandbox."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import redis
from django.db import connection as database
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from accounts.models import User
from accounts.users import user_for_account
from spotify_auth import connections
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import SpotifyToken
from tests.support.sandbox_client import Sandbox

Connect = Callable[..., User]
"""The fixture `connect`."""
Elsewhere = Callable[..., "Future[object]"]
"""The fixture `elsewhere`."""


def forget(client: redis.Redis, names: str) -> None:
    """Delete the keys with names like this."""
    for key in client.scan_iter(names):
        client.delete(key)


def ago(seconds: float) -> CombinedExpression:
    """A time in the past, by PostgreSQL's clock."""
    return Now() - timedelta(seconds=seconds)


def change(user: User, **columns: object) -> None:
    """Write into a token's row."""
    SpotifyToken.objects.filter(pk=user.pk).update(**columns)


def make_due(user: User, *, expired: bool = False) -> None:
    """Let a token be due since a minute ago, and perhaps expired."""
    # A minute, since a test in one transaction claims by the clock of its beginning.
    changes = {
        "refreshed_at": Now() - timedelta(seconds=100),
        "due_at": Now() - timedelta(seconds=60),
    }
    if expired:
        changes["expires_at"] = Now() - timedelta(seconds=60)
    SpotifyToken.objects.filter(pk=user.pk).update(**changes)


def grant_of(answer: Mapping[str, Any]) -> Grant:
    """A token answer of the sandbox, as the Accounts service's client would give it."""
    return Grant(
        access_token=answer["access_token"],
        refresh_token=answer["refresh_token"],
        expires_in=answer["expires_in"],
        scope=answer["scope"],
    )


def token_of(user: User) -> SpotifyToken:
    """The row as it is in the database now."""
    return SpotifyToken.objects.get(pk=user.pk)


def account_of(spotify: Sandbox, access_token: str | None) -> str:
    """Whose access token this is, if the Web API accepts it."""
    assert access_token
    answer = spotify.get("/v1/me", access_token)
    assert answer.ok, answer.text
    account_id: str = answer.json()["account_id"]
    return account_id


def waiting_for_a_lock() -> int:
    """How many sessions of the test database wait for a lock."""
    with database.cursor() as cursor:
        # A transaction reads pg_stat_activity once, and then the same again.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        count: int = cursor.fetchone()[0]
    return count


def connect_users(sandbox: Sandbox, count: int) -> list[User]:
    """Connect users as their log-ins would."""
    users = []
    issued_at = connections.database_now()
    for persona, answer in sandbox.connect([f"user-{n}" for n in range(count)]).items():
        user = user_for_account(account_id=answer["account_id"], display_name=persona)
        connections.connect(
            user_id=user.pk,
            account_id=answer["account_id"],
            grant=grant_of(answer),
            issued_at=issued_at,
        )
        users.append(user)
    return users


def make_long_refused(user: User) -> None:
    """Let a token be due, and expired; if it is refused, then for an hour already."""
    make_due(user, expired=True)
    suspected = SpotifyToken.objects.filter(pk=user.pk, suspected_at__isnull=False)
    suspected.update(suspected_at=Now() - timedelta(hours=1))
