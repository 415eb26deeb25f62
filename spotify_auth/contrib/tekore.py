"""tekore: `client_for(user).current_user()`, and the same to await."""

from typing import Any

import httpx
import tekore

from spotify_auth.contrib.httpx import auth_for
from spotify_auth.tokens import UserOrId


def client_for(
    user: UserOrId, *, requested_by: str = "", asynchronous: bool = False, **options: Any
) -> tekore.Spotify:
    """A client that calls the Web API as this user, with the token of each call's moment.

    `options` are those of `tekore.Spotify`, but for `token` and `sender`. Its `close()` is to be
    called, or awaited. Raises what `auth_for` raises; errors of Spotify's are tekore's own.
    """
    auth = auth_for(httpx, user, requested_by=requested_by)
    if asynchronous:
        return tekore.Spotify(sender=tekore.AsyncSender(httpx.AsyncClient(auth=auth)), **options)
    return tekore.Spotify(sender=tekore.SyncSender(httpx.Client(auth=auth)), **options)
