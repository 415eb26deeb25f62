"""Taking over tokens that were obtained elsewhere: by another library's login, or from a table.

From then on the service alone presents the refresh token. Whoever hands tokens over must forget
them: two that refresh one token which Spotify rotates log its user out.
"""

import logging
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from spotify_auth import connections, schedule
from spotify_auth.accounts_service import spotify
from spotify_auth.conf import settings
from spotify_auth.connections import Pair
from spotify_auth.models import Cause
from spotify_auth.secrecy import forgets_variables
from spotify_auth.text import is_visible
from spotify_auth.tokens import UserOrId, primary_key_of

logger = logging.getLogger(__name__)

CLOCKS_DIFFER_BY = timedelta(minutes=10)
"""How far ahead an approval may lie, since another host's clock has noted it: it counts as now."""
SPOTIFY_BEGAN = datetime(2006, 1, 1, tzinfo=UTC)
"""No token is older. Of an older time the seconds until now may be more than a column holds."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_LEAST = timedelta.resolution


@forgets_variables
def adopt(
    user: UserOrId,
    *,
    access_token: str,
    refresh_token: str,
    expires_at: datetime | None,
    scope: str | Iterable[str],
    authorized_at: datetime | None,
    cause: Cause = Cause.ADOPTED,
    account_id: str | None = None,
    due_at: datetime | None = None,
    from_disconnected: bool = False,
) -> bool:
    """Keep these tokens of a user fresh from now on. False if what is stored here stays.

    `user` is a user or a primary key. `expires_at` is when the access token expires, or did long
    ago; None if that is not known: it counts as expired. `scope` is what was granted, in one
    string or in several; empty if it is not known: then a refresh at once brings it.
    `authorized_at` is when the user approved on Spotify, and None if that
    is not known: then the six months have an upper bound only, and nobody is asked to reconnect
    by it. `account_id` is Spotify's `account_id` of the user (not `id`), if it is known. `due_at`
    is from when on the tokens are to be refreshed: by default when a login's would be, so for an
    expired access token at once; an import of many spreads them. All times have a time zone.
    `from_disconnected` is as for `connections.connect`.

    What is stored here stays if the user approved it later, or at the same moment, or if it is
    not known when the new tokens were approved. So does the erasing of tokens by the user or an
    administrator, unless the user has approved since. A pair that Spotify refuses is replaced, but
    not one for which an administrator requires a reconnect: that needs a later approval.

    Raises ValueError for what cannot be stored, and connections.DifferentAccount if the user has
    connected another account, AccountTaken if another user has this one, NotConnected for a
    visitor who is not logged in, and django.db.OperationalError when a lane holds the row.
    """
    now = connections.database_now()
    approved = now if authorized_at is None else _past("authorized_at", authorized_at, now=now)
    expires = now if expires_at is None else max(_aware("expires_at", expires_at), SPOTIFY_BEGAN)
    left = (expires - now).total_seconds()
    if left > spotify.LONGEST_LIFETIME_SECONDS:
        raise ValueError(
            "expires_at is more than a day ahead: Spotify's access tokens live for an hour. "
            "Is it in milliseconds, or of the refresh token?"
        )
    lifetime = max(settings.ACCESS_TOKEN_LIFETIME_SECONDS, left)
    issued = expires - timedelta(seconds=lifetime)
    fraction = random.random()  # noqa: S311 (jitter)
    due_by_itself = issued + timedelta(seconds=schedule.refresh_after(lifetime, fraction=fraction))
    names = _scope(scope)
    if due_at is not None:
        due = _while_it_lives(_aware("due_at", due_at), expires, now=now)
    else:
        due = max(due_by_itself, now) if names else now
    pair = Pair(
        access_token=_token("access_token", access_token),
        refresh_token=_token("refresh_token", refresh_token),
        scope=names,
        authorized_at=approved,
        authorized_at_known=authorized_at is not None,
        supersedes=_LONG_AGO if authorized_at is None else approved - _LEAST,
        refreshed_at=issued,
        expires_at=expires,
        due_at=due,
        lifetime=max(0, round(left)),
        cause=cause,
    )
    user_id = primary_key_of(user)
    generation = connections.store(
        user_id, pair, account_id=account_id or None, from_disconnected=from_disconnected
    )
    if generation is None:
        logger.info("not_adopted user_id=%s", user_id)
        return False
    logger.info("adopted user_id=%s generation=%s cause=%s", user_id, generation, cause)
    return True


def _token(name: str, token: str) -> str:
    """The token, if it can be one. What is said of another does not show it."""
    if not token:
        raise ValueError(f"{name} is missing")
    if not is_visible(token) or token != token.strip():
        raise ValueError(
            f"{name} is no token: it must be a string of visible ASCII characters, without "
            "blanks or a line's end around it"
        )
    return token


def _scope(scope: str | Iterable[str]) -> str:
    names = spotify.SCOPE_SEPARATOR.join([scope] if isinstance(scope, str) else scope)
    if not is_visible(names):
        raise ValueError("scope must be the names of scopes, separated by spaces")
    return spotify.SCOPE_SEPARATOR.join(names.split())


def _while_it_lives(due_at: datetime, expires_at: datetime, *, now: datetime) -> datetime:
    """Not later than pages can do with the access token; an expired one may wait for its turn."""
    if expires_at <= now:
        return due_at
    needed = timedelta(seconds=settings.ACCESS_TOKEN_MINIMUM_SECONDS)
    return min(due_at, max(expires_at - needed, now))


def _past(name: str, moment: datetime, *, now: datetime) -> datetime:
    if _aware(name, moment) > now + CLOCKS_DIFFER_BY:
        raise ValueError(f"{name} lies in the future: is it in milliseconds, or in local time?")
    if moment < SPOTIFY_BEGAN:
        raise ValueError(f"{name} lies before there was Spotify: is it in seconds?")
    return min(moment, now)


def _aware(name: str, moment: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(f"{name} must be a datetime with a time zone, such as UTC")
    return moment
