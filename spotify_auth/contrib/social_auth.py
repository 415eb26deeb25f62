"""social-auth-app-django: steps for the end of its pipelines.

SOCIAL_AUTH_PIPELINE gets `keep_spotify_token` and then `forget_spotify_token`,
SOCIAL_AUTH_DISCONNECT_PIPELINE gets `disconnect_spotify`.
"""

from datetime import timedelta
from typing import Any

from spotify_auth import connections
from spotify_auth.contrib.logins import take_over


def keep_spotify_token(
    backend: Any, user: Any, response: dict[str, Any], **_: Any
) -> dict[str, bool] | None:
    """Keep what the login granted. `response` is what the token endpoint and /v1/me said."""
    if backend.name != "spotify" or user is None or not response.get("refresh_token"):
        return None
    seconds = response.get("expires_in")
    taken = take_over(
        backend.strategy.request,
        user,
        access_token=response["access_token"],
        refresh_token=response["refresh_token"],
        expires_at=connections.database_now() + timedelta(seconds=int(seconds))
        if seconds
        else None,
        scope=response.get("scope") or "",
        account_id=response.get("account_id"),
    )
    return {"spotify_token_kept": taken}


def forget_spotify_token(social: Any, *, spotify_token_kept: bool = False, **_: Any) -> None:
    """Take both tokens out of `extra_data`: from now on they live elsewhere."""
    if spotify_token_kept:
        for name in ("access_token", "refresh_token"):
            social.extra_data.pop(name, None)
        social.save(update_fields=["extra_data"])


def disconnect_spotify(backend: Any, user: Any, **_: Any) -> None:
    """Erase the tokens of a user who disconnects Spotify."""
    if backend.name == "spotify":
        connections.disconnect(user_id=user.pk)
