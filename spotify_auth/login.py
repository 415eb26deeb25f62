"""A login with Spotify: the way there, the way back, and what the code is worth.

`begin` gives the address at Spotify, and a cookie that holds the attempt; `complete` takes the
attempt up again, trades the code for a grant and asks whose it is. Pages, users and sessions are
the business of the views.

An attempt is for the browser that has the cookie (RFC 9700, section 4.7), for the user who began
it or for nobody, if nobody was logged in, and for what it was begun for. It is good once.
"""

import logging
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from spotify_auth import cooldown, login_attempts, login_rows, pace, rate_limits
from spotify_auth.accounts_service import answers, authorization
from spotify_auth.accounts_service.errors import AccountsServiceError
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.login_attempts import Attempt, digest
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.models import UserId
from spotify_auth.profile import account_of
from spotify_auth.rate_limits import Limited, Use
from spotify_auth.secrecy import forgets_variables
from spotify_auth.text import for_the_log

logger = logging.getLogger(__name__)

LIFETIME = timedelta(minutes=10)
"""How long a login may take."""
LINK_LIFETIME = timedelta(minutes=5)
"""How long a link may take: the password was typed just before it began."""
EXCHANGES_WINDOW_SECONDS = 30.0

# Errors of RFC 6749, section 4.1.2.1, that speak of what this site asks for.
_REQUEST_ERRORS = {
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_response_type",
}


class Door(StrEnum):
    """What a login was begun for, and so what its grant is for."""

    LOGIN = "login"
    """Log in as the user of the Spotify account, whoever that is."""
    SWITCH = "switch"
    """The same, as another user than the one who is logged in; Spotify asks for the account."""
    CONNECT = "connect"
    """Store the grant for the user who is logged in."""
    LINK = "link"
    """The same for an administrator, who was told what it means and typed the password."""


_ASKS_FOR_THE_ACCOUNT = {Door.SWITCH, Door.LINK}


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """What a new attempt needs: the address to go to, and a cookie for the browser."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)
    """For `cookie_name()`, in place of the one that the browser had."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A login that came back with a grant, and whose it is at Spotify."""

    door: str
    next_url: str
    account_id: str
    """Spotify promises never to change it."""
    display_name: str
    """Blank if the account has none; 255 characters at most."""
    grant: Grant = field(repr=False)
    issued_at: datetime
    """PostgreSQL's clock before the exchange: `connections.connect` wants it."""


def cookie_name() -> str:
    """The cookie of the logins under way. With https no other host can set one of this name."""
    return "__Host-login" if settings.HTTPS else "login"


@forgets_variables
def begin(
    *, door: Door, next_url: str, user_id: UserId | None, cookie: str, renew: bool = False
) -> Begun:
    """Make an attempt that is about to leave for Spotify.

    `user_id` is the user who is logged in, or None: only the same may complete it. `cookie` is
    what the browser has, blank for none. `renew`: a visitor comes for another six months. Raises
    django.db.Error when nothing can be changed, since the login could not be completed.
    """
    state = secrets.token_urlsafe(32)
    code_verifier = authorization.new_code_verifier()
    attempt = Attempt(
        state_digest=digest(state),
        code_verifier=code_verifier,
        door=door,
        begun_by=_name_of(user_id),
        next_url=next_url if len(next_url) <= login_attempts.LONGEST_NEXT else "",
        begun_at=login_attempts.now(),
    )
    url = authorization.authorize_url(
        state=state,
        code_verifier=code_verifier,
        # It is not known whether a pass without a question begins another six months.
        show_dialog=renew or user_id is not None or door in _ASKS_FOR_THE_ACCOUNT,
    )
    return Begun(url=url, cookie=login_attempts.seal([*login_attempts.read(cookie), attempt]))


def without(state: str, *, cookie: str) -> str:
    """The cookie without the attempt of this state; blank if no other is left."""
    attempts = login_attempts.read(cookie)
    others = [attempt for attempt in attempts if attempt.state_digest != digest(state)]
    if len(others) == len(attempts):
        return cookie if attempts else ""
    return login_attempts.seal(others) if others else ""


@forgets_variables
def complete(
    *,
    state: str,
    cookie: str,
    previous_cookie: str,
    code: str,
    error: str,
    user_id: UserId | None,
    doors: Collection[str],
) -> Completed:
    """Use an attempt up, and trade its code for a grant.

    `cookie` is the browser's under `cookie_name()`, `previous_cookie` the one under
    `login_rows.cookie_name(state)`; `code` and `error` are what Spotify sent, blank if it did not;
    `user_id` is the user who is logged in, or None; `doors` are those that the caller can go
    through. Raises LoginFailed, without a request to Spotify if the attempt does not hold; with
    `keeps_attempt` before anything was used up.
    """
    attempt = _attempt(state=state, cookie=cookie, previous_cookie=previous_cookie)
    if attempt is None or attempt.door not in doors:
        raise LoginFailed(Reason.UNKNOWN_STATE)
    _refuse_others(attempt, _name_of(user_id))
    if error:
        raise LoginFailed(_reason_of(error))
    if not code:
        raise LoginFailed(Reason.SPOTIFY_ERROR)
    _take_turn()
    lifetime = LINK_LIFETIME if attempt.door == Door.LINK else LIFETIME
    issued_at = login_attempts.use(attempt, lifetime=lifetime)
    if issued_at is None:
        raise LoginFailed(Reason.UNKNOWN_STATE)
    pace.count_login()
    began = time.monotonic()
    try:
        grant = authorization.exchange_code(code=code, code_verifier=attempt.code_verifier)
    except AccountsServiceError as failure:
        if isinstance(failure.answer, answers.RateLimited):
            _pause_all(failure.answer, began=began)
        raise _failed_exchange(failure) from None
    account = account_of(grant.access_token)
    return Completed(
        door=attempt.door,
        next_url=attempt.next_url,
        account_id=account.account_id,
        display_name=account.display_name,
        grant=grant,
        issued_at=issued_at,
    )


def forget_old(*, at_once: int) -> int:
    """Delete rows of logins that can no longer be completed; how many of each kind at most.

    Used states are kept for twice the lifetime: two hosts of PostgreSQL may differ a little.
    """
    used = login_attempts.forget_used(older_than=2 * LIFETIME, at_once=at_once)
    return max(used, login_rows.forget(at_once=at_once))


def _attempt(*, state: str, cookie: str, previous_cookie: str) -> Attempt | None:
    state_digest = digest(state)
    for attempt in login_attempts.read(cookie):
        if attempt.state_digest == state_digest:
            return attempt
    return login_rows.take(state=state, cookie=previous_cookie) if previous_cookie else None


def _refuse_others(attempt: Attempt, name: str) -> None:
    """Raise LoginFailed unless the user who is logged in is the one who began, or both nobody."""
    if attempt.begun_by is None or attempt.begun_by == name:
        return
    if not attempt.begun_by:
        raise LoginFailed(Reason.LOGGED_IN_MEANWHILE)
    raise LoginFailed(Reason.ANOTHER_USER if name else Reason.LOGGED_OUT_MEANWHILE)


def _name_of(user_id: UserId | None) -> str:
    return "" if user_id is None else str(user_id)


def _take_turn() -> None:
    """Count an exchange. Raises LoginFailed while the token endpoint is not to be asked.

    During a pause of all, and beyond a share of their own: an exchange more could make Spotify
    limit the lanes, which keep everybody's tokens fresh.
    """
    wait = cooldown.left()
    if not wait:
        share = Use(
            name="code_exchanges",
            who="",
            most=settings.RATE_LIMIT_CODE_EXCHANGES,
            seconds=EXCHANGES_WINDOW_SECONDS,
        )
        try:
            rate_limits.take(share)
        except Limited as limited:
            wait = limited.retry_after
    if wait:
        raise LoginFailed(Reason.PAUSED, retry_after=wait, keeps_attempt=True)


def _pause_all(limited: answers.RateLimited, *, began: float) -> None:
    """Spotify limits the application, not the login: everybody pauses, and the pace is learned."""
    asked = cooldown.seconds_after_429(limited.retry_after)
    seconds = pace.refused_or_unshared(began=time.monotonic() - began, retry_after=asked)
    cooldown.start(cooldown.Reason.RATE_LIMITED, seconds=seconds)


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
