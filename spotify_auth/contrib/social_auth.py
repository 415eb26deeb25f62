"""social-auth-app-django: steps for the end of its pipelines.

SOCIAL_AUTH_PIPELINE gets `keep_spotify_token` and then `forget_spotify_token`,
SOCIAL_AUTH_DISCONNECT_PIPELINE gets `disconnect_spotify`.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from spotify_auth import connections
from spotify_auth.contrib.logins import let_go, take_over
from spotify_auth.profile import account_id_in
from spotify_auth.secrecy import forgets_variables


@forgets_variables
def keep_spotify_token(
    backend: Any, user: Any, response: dict[str, Any], **_: Any
) -> dict[str, bool] | None:
    """Keep what the login granted. `response` is what the token endpoint and /v1/me said."""
    if backend.name != "spotify" or user is None or not response.get("refresh_token"):
        return None
    client_id, _secret = backend.get_key_and_secret()
    seconds = response.get("expires_in")
    settled = take_over(
        backend.strategy.request,
        user,
        client_id=client_id,
        access_token=response["access_token"],
        refresh_token=response["refresh_token"],
        expires_at=connections.database_now() + timedelta(seconds=int(seconds))
        if seconds
        else None,
        scope=response.get("scope") or "",
        account_id=account_id_in(response),
    )
    return {"spotify_token_settled": settled}


def forget_spotify_token(social: Any, *, spotify_token_settled: bool = False, **_: Any) -> None:
    """Take both tokens out of `extra_data`: from now on they live elsewhere, or nowhere."""
    if spotify_token_settled:
        for name in ("access_token", "refresh_token"):
            social.extra_data.pop(name, None)
        social.save(update_fields=["extra_data"])


def disconnect_spotify(backend: Any, user: Any, entries: Iterable[Any] = (), **_: Any) -> None:
    """Erase the tokens of a user who disconnects Spotify; `entries` are what was disconnected.

    With SOCIAL_AUTH_SPOTIFY_EXTRA_DATA = ["account_id"] they say which of two accounts that was.
    """
    if backend.name == "spotify":
        let_go(user.pk, [entry.extra_data for entry in entries] or [None])
