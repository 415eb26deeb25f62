"""What the bridges to libraries that log users in have in common."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from django.contrib import messages
from django.http import HttpRequest

from spotify_auth import connections
from spotify_auth.adopting import adopt
from spotify_auth.models import Cause
from spotify_auth.tokens import UserOrId

logger = logging.getLogger(__name__)

_WORDS: Final[Mapping[type[connections.AccountConflict], tuple[str, str]]] = {
    connections.DifferentAccount: (
        "different_account",
        "You have connected another Spotify account, and that one stays. Disconnect it first to "
        "use this one.",
    ),
    connections.AccountTaken: (
        "account_taken",
        "Another user of this site has connected this Spotify account. It must be disconnected "
        "there first.",
    ),
}


def take_over(
    request: HttpRequest,
    user: UserOrId,
    *,
    access_token: str,
    refresh_token: str,
    expires_at: datetime | None,
    scope: str | Iterable[str],
    account_id: str | None,
) -> bool:
    """Keep what a login has just granted. False if it was not taken: the login goes on.

    The user is told of a conflict of accounts, by Django's messages.
    """
    try:
        return adopt(
            user,
            access_token=access_token,
            refresh_token=refresh_token,
            expires_at=expires_at,
            scope=scope,
            authorized_at=connections.database_now(),
            cause=Cause.LOGIN,
            account_id=account_id,
        )
    except connections.AccountConflict as conflict:
        reason, words = _WORDS[type(conflict)]
        logger.warning("login_not_adopted user_id=%s reason=%s", getattr(user, "pk", user), reason)
        messages.warning(request, words, fail_silently=True)
        return False
