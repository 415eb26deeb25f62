"""What the bridges to libraries that log users in have in common."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest

from spotify_auth import connections
from spotify_auth.adopting import adopt
from spotify_auth.conf import settings
from spotify_auth.models import Cause, SpotifyToken, UserId
from spotify_auth.profile import account_id_in
from spotify_auth.secrecy import forgets_variables

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


@forgets_variables
def take_over(
    request: HttpRequest,
    user: Any,
    *,
    client_id: str,
    access_token: str,
    refresh_token: str,
    expires_at: datetime | None,
    scope: str | Iterable[str],
    account_id: str | None,
) -> bool:
    """Keep what a login has just granted; the login goes on. True: nobody else may keep it.

    So it is if the tokens were taken, if the user is told, by Django's messages, of a conflict of
    accounts, and if the user is not active, whose login is about to be refused. Tokens of another
    application than SPOTIFY_CLIENT_ID are none of ours.
    """
    if client_id != settings.SPOTIFY_CLIENT_ID:
        logger.error("login_not_adopted user_id=%s reason=another_application", user.pk)
        return False
    if not user.is_active:
        return True
    try:
        adopt(
            user,
            access_token=access_token,
            refresh_token=refresh_token,
            expires_at=expires_at,
            scope=scope,
            authorized_at=connections.database_now(),
            cause=Cause.LOGIN,
            account_id=account_id,
            from_disconnected=True,  # by whom an account logs in, the library's own tables say
        )
    except connections.AccountConflict as conflict:
        reason, words = _WORDS[type(conflict)]
        logger.warning("login_not_adopted user_id=%s reason=%s", user.pk, reason)
        if hasattr(request, "_messages"):
            messages.warning(request, words)
    return True


def let_go(user_id: UserId, removed: Iterable[object]) -> None:
    """Erase the tokens of a user who has removed Spotify accounts, as the library has noted them.

    Not if those that are kept are known to be of another account. Another user may connect the
    account from then on.
    """
    account_ids = {account_id_in(each) for each in removed}
    with transaction.atomic():
        kept = SpotifyToken.objects.filter(pk=user_id).values_list("account_id", flat=True).first()
        if not kept or {None, kept} & account_ids:
            connections.disconnect(user_id=user_id)
            SpotifyToken.objects.filter(pk=user_id).update(account_id=None)
