"""A login with Spotify: the way there, the way back, and what the code is worth.

`begin` remembers an attempt and gives the address at Spotify; `complete` takes the attempt up
again, trades the code for a grant and asks whose it is. Pages, users and sessions are the
business of the views.

Each attempt is bound to the browser by a cookie of its own (RFC 9700, section 4.7), so
that several tabs may log in at once, and is taken by one DELETE, so that it is good
for one use even when two requests bring the same `state` together.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.models.functions import Now
from django.views.decorators.debug import sensitive_variables

from spotify_auth import web_api
from spotify_auth.accounts_service import authorization
from spotify_auth.accounts_service.errors import (
    AccountsServiceError,
    ClientRefused,
    GrantRefused,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.connections import database_now
from spotify_auth.models import LoginAttempt, UserId
from spotify_auth.text import storable

logger = logging.getLogger(__name__)

LIFETIME = timedelta(minutes=10)

_TAKE = """
DELETE FROM spotify_auth_loginattempt
WHERE state_digest = %s AND browser_digest = %s AND created_at > now() - make_interval(secs => %s)
RETURNING code_verifier, next_url, door, for_user, switch
"""


class Door(StrEnum):
    """Which view began an attempt, and so what its grant is for."""

    LOGIN = "login"
    """Log in as the user of the Spotify account, whoever that is."""
    CONNECT = "connect"
    """Store the grant for the user who is logged in."""


class Reason(StrEnum):
    """Why a login came to no grant, or its grant was not stored."""

    UNKNOWN_STATE = "unknown_state"
    """The state is wrong, used already, too old, or from another browser."""
    ANOTHER_USER = "another_user"
    """Begun by a user who is not the one that is logged in now."""
    ACCESS_DENIED = "access_denied"
    """The user refused on Spotify's page."""
    SPOTIFY_ERROR = "spotify_error"
    CODE_REFUSED = "code_refused"
    MISCONFIGURED = "misconfigured"
    """Spotify refused this site's own credentials."""
    NO_ANSWER = "no_answer"
    NOT_ALLOWED = "not_allowed"
    """The app is in development mode, and the account is not on its list."""
    NO_ACCOUNT_ID = "no_account_id"
    DIFFERENT_ACCOUNT = "different_account"
    """The user has connected another Spotify account."""
    LINKED_TO_ANOTHER = "linked_to_another"
    """The Spotify account belongs to another user."""
    BUSY = "busy"
    """A refresh held the token for longer than a request can wait."""


class LoginFailed(Exception):
    """A login failed; `reason` is a word for the log and for choosing the page's words."""

    def __init__(self, reason: StrEnum) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """What a new attempt needs: the address to go to, and a cookie for the browser."""

    url: str = field(repr=False)
    cookie_name: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A login that came back with a grant, and whose it is at Spotify."""

    door: str
    next_url: str
    switch: bool
    account_id: str
    """Spotify promises never to change it."""
    display_name: str
    """Blank if the account has none; 255 characters at most."""
    grant: Grant = field(repr=False)
    issued_at: datetime
    """PostgreSQL's clock before the exchange: `connections.connect` wants it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Taken:
    code_verifier: str = field(repr=False)
    next_url: str
    door: str
    for_user: str
    switch: bool


def begin(
    *, door: Door, next_url: str, user_id: UserId | None = None, switch: bool = False
) -> Begun:
    """Remember a login that is about to leave for Spotify.

    With a `user_id` only this user may complete it. `switch`: Spotify asks for the account
    even if one has approved before, since the user wants another than before.
    """
    state, cookie = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    code_verifier = authorization.new_code_verifier()
    LoginAttempt.objects.create(
        state_digest=_digest(state),
        browser_digest=_digest(cookie),
        code_verifier=code_verifier,
        next_url=next_url,
        door=door,
        for_user="" if user_id is None else str(user_id),
        switch=switch,
    )
    url = authorization.authorize_url(state=state, code_verifier=code_verifier, show_dialog=switch)
    return Begun(url=url, cookie_name=cookie_name(state), cookie=cookie)


@sensitive_variables()
def complete(
    *, state: str, cookie: str, code: str, error: str, user_id: UserId | None
) -> Completed:
    """Use an attempt up, and trade its code for a grant.

    `cookie` is the browser's under `cookie_name(state)`; `code` and `error` are what Spotify
    sent, blank if it did not; `user_id` is the user who is logged in, or None. Raises
    LoginFailed.
    """
    attempt = _take(state=state, cookie=cookie)
    if attempt.for_user and attempt.for_user != str(user_id):
        raise LoginFailed(Reason.ANOTHER_USER)
    if error:
        denied = error == "access_denied"
        raise LoginFailed(Reason.ACCESS_DENIED if denied else Reason.SPOTIFY_ERROR)
    if not code:
        raise LoginFailed(Reason.SPOTIFY_ERROR)
    issued_at = database_now()
    try:
        grant = authorization.exchange_code(code=code, code_verifier=attempt.code_verifier)
    except GrantRefused:
        raise LoginFailed(Reason.CODE_REFUSED) from None
    except ClientRefused as refusal:
        logger.error("client_refused error=%s", refusal.code)
        raise LoginFailed(Reason.MISCONFIGURED) from None
    except AccountsServiceError:
        raise LoginFailed(Reason.NO_ANSWER) from None
    account_id, display_name = _owner_of(grant.access_token)
    return Completed(
        door=attempt.door,
        next_url=attempt.next_url,
        switch=attempt.switch,
        account_id=account_id,
        display_name=display_name,
        grant=grant,
        issued_at=issued_at,
    )


def cookie_name(state: str) -> str:
    """The name of the cookie that binds this attempt to its browser."""
    return f"login_{_digest(state)[:16]}"


def delete_expired() -> None:
    """Delete the attempts that did not come back in time."""
    LoginAttempt.objects.filter(created_at__lt=Now() - LIFETIME).delete()


def _take(*, state: str, cookie: str) -> _Taken:
    digest = _digest(state)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [digest, _digest(cookie), LIFETIME.total_seconds()])
        row = cursor.fetchone()
    if row is None:
        raise LoginFailed(Reason.UNKNOWN_STATE)
    sealed, next_url, door, for_user, switch = row
    verifier = LoginAttempt._meta.get_field("code_verifier")
    return _Taken(
        code_verifier=verifier.unseal(sealed, primary_key=digest),
        next_url=next_url,
        door=door,
        for_user=for_user,
        switch=switch,
    )


@sensitive_variables()
def _owner_of(access_token: str) -> tuple[str, str]:
    """The account ID and the display name behind an access token. Raises LoginFailed."""
    try:
        profile: dict[str, Any] = web_api.get(access_token, "/me") or {}
    except web_api.NotAllowed:
        raise LoginFailed(Reason.NOT_ALLOWED) from None
    except web_api.WebApiError:
        raise LoginFailed(Reason.NO_ANSWER) from None
    account_id, name = profile.get("account_id"), profile.get("display_name")
    if (
        not isinstance(account_id, str)
        or not 0 < len(account_id) <= 255
        or account_id != storable(account_id)
    ):
        raise LoginFailed(Reason.NO_ACCOUNT_ID)
    return account_id, storable(name)[:255] if isinstance(name, str) else ""


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
