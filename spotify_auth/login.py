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

from django.db import connection
from django.db.models.functions import Now

from spotify_auth.accounts_service import answers, authorization
from spotify_auth.accounts_service.errors import AccountsServiceError
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.connections import database_now
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.models import LoginAttempt, UserId
from spotify_auth.profile import account_of
from spotify_auth.secrecy import forgets_variables
from spotify_auth.text import for_the_log

logger = logging.getLogger(__name__)

LIFETIME = timedelta(minutes=10)

# Errors of RFC 6749, section 4.1.2.1, that speak of what this site asks for.
_REQUEST_ERRORS = {
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_response_type",
}

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


@forgets_variables
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


@forgets_variables
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
        raise LoginFailed(_reason_of(error))
    if not code:
        raise LoginFailed(Reason.SPOTIFY_ERROR)
    issued_at = database_now()
    try:
        grant = authorization.exchange_code(code=code, code_verifier=attempt.code_verifier)
    except AccountsServiceError as failure:
        raise _failed_exchange(failure) from None
    account = account_of(grant.access_token)
    return Completed(
        door=attempt.door,
        next_url=attempt.next_url,
        switch=attempt.switch,
        account_id=account.account_id,
        display_name=account.display_name,
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


def _reason_of(error: str) -> Reason:
    """What `error` at the callback means; Spotify's own word is for the log."""
    if error == "access_denied":
        return Reason.ACCESS_DENIED
    ours = error in _REQUEST_ERRORS
    level = logging.ERROR if ours else logging.WARNING
    logger.log(level, "login_refused_by_spotify error=%s", for_the_log(error))
    return Reason.REQUEST_REFUSED if ours else Reason.SPOTIFY_ERROR


def _failed_exchange(failure: AccountsServiceError) -> LoginFailed:
    answer = failure.answer
    match answer:
        case answers.RateLimited():
            return LoginFailed(Reason.RATE_LIMITED, retry_after=answer.retry_after)
        case answers.Refused():
            # The same invalid_grant as for a code that is used or old.
            ours = "redirect" in answer.description.casefold()
            level = logging.ERROR if ours else logging.WARNING
            logger.log(level, "login_code_refused description=%s", for_the_log(answer.description))
            return LoginFailed(Reason.REDIRECT_URI_REFUSED if ours else Reason.CODE_REFUSED)
        case answers.ClientRefused():
            said = for_the_log(answer.description)
            logger.error("client_refused error=%s description=%s", answer.code, said)
            return LoginFailed(Reason.MISCONFIGURED)
    logger.warning("login_not_answered error=%s", answer.code)
    return LoginFailed(Reason.NO_ANSWER)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
