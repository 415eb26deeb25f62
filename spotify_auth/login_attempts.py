"""A log-in's `state` and PKCE verifier, from the way to Spotify until the way back.

Each attempt is bound to the browser by a cookie of its own (RFC 9700, section 4.7), so
that several tabs may log in at once, and is taken by one DELETE, so that it is good
for one use even when two requests bring the same `state` together.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from spotify_auth.accounts_service.authorization import new_code_verifier
from spotify_auth.models import LoginAttempt

LIFETIME = timedelta(minutes=10)

_TAKE = """
DELETE FROM spotify_auth_loginattempt
WHERE state_digest = %s AND browser_digest = %s AND created_at > now() - make_interval(secs => %s)
RETURNING code_verifier, next_url, switch
"""


class UnknownLoginAttempt(Exception):
    """The state is wrong, used already, too old, or from another browser."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """What a new attempt needs: `state` goes to Spotify, `cookie` into the browser."""

    state: str = field(repr=False)
    code_verifier: str = field(repr=False)
    cookie_name: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What an attempt was begun with."""

    code_verifier: str = field(repr=False)
    next_url: str
    switch: bool


def begin(*, next_url: str, switch: bool) -> Begun:
    """Remember a log-in that is about to leave for Spotify.

    `switch`: the person wants to go on as another Spotify account than before.
    """
    state, cookie, code_verifier = (
        secrets.token_urlsafe(32),
        secrets.token_urlsafe(32),
        new_code_verifier(),
    )
    LoginAttempt.objects.create(
        state_digest=_digest(state),
        browser_digest=_digest(cookie),
        code_verifier=code_verifier,
        next_url=next_url,
        switch=switch,
    )
    return Begun(
        state=state, code_verifier=code_verifier, cookie_name=cookie_name(state), cookie=cookie
    )


def take(*, state: str, cookie: str) -> Taken:
    """Use an attempt up. Raises UnknownLoginAttempt."""
    digest = _digest(state)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [digest, _digest(cookie), LIFETIME.total_seconds()])
        row = cursor.fetchone()
    if row is None:
        raise UnknownLoginAttempt
    sealed, next_url, switch = row
    verifier = LoginAttempt._meta.get_field("code_verifier")
    return Taken(
        code_verifier=verifier.unseal(sealed, primary_key=digest), next_url=next_url, switch=switch
    )


def cookie_name(state: str) -> str:
    """The name of the cookie that binds this attempt to its browser."""
    return f"login_{_digest(state)[:16]}"


def delete_expired() -> None:
    """Forget the log-ins that did not come back in time."""
    LoginAttempt.objects.filter(created_at__lt=Now() - LIFETIME).delete()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
