"""spotipy: `client_for(user).current_user()`; and a cache for those who keep its SpotifyOAuth."""

import time
from datetime import UTC, datetime
from typing import Any

import spotipy
from spotipy.cache_handler import CacheHandler

from spotify_auth import connections, web_api
from spotify_auth.accounts_service import spotify
from spotify_auth.adopting import adopt
from spotify_auth.conf import settings
from spotify_auth.models import Cause
from spotify_auth.secrecy import forgets_variables
from spotify_auth.tokens import UserOrId
from spotify_auth.web_api import reading

LIFE_THAT_SPOTIPY_WANTS = 65
"""Seconds: spotipy refreshes by itself what expires within 60."""


def client_for(user: UserOrId, *, requested_by: str = "", **options: Any) -> spotipy.Spotify:
    """A client that calls the Web API as this user, by `web_api.session_for`.

    `options` are those of `spotipy.Spotify`, but for its ways to authorise. A call raises
    TokenUnavailable or WebApiError, which `spotify_required` answers; SpotifyException only for
    an ID or a URI that spotipy cannot read, before anything is sent.
    """
    session = web_api.session_for(user, requested_by=requested_by)
    client = spotipy.Spotify(requests_session=session, **options)
    client.prefix = f"{settings.SPOTIFY_API_URL}{spotify.API_VERSION_PATH}/"
    return client


class KeeperCacheHandler(CacheHandler):  # type: ignore[misc]  # spotipy has no types
    """For `SpotifyOAuth(cache_handler=KeeperCacheHandler(user, scope=…))`.

    Its login is taken over; it never refreshes. `scope` is the same as SpotifyOAuth's: if a user
    granted less, InsufficientScope is raised, and spotipy does not ask on the terminal.
    `account_id` is Spotify's, of the account that logs in, if it is known: spotipy does not ask.
    """

    def __init__(
        self,
        user: UserOrId,
        *,
        scope: str = "",
        requested_by: str = "",
        account_id: str | None = None,
    ) -> None:
        self._user, self._scope, self._requested_by = user, scope, requested_by
        self._account_id = account_id

    def get_cached_token(self) -> dict[str, Any]:
        """A token that spotipy takes for fresh. Raises TokenUnavailable or InsufficientScope."""
        token = reading.read(
            self._user,
            requested_by=self._requested_by,
            minimum_seconds=LIFE_THAT_SPOTIPY_WANTS,
        )
        if not token.scopes.issuperset(self._scope.replace(",", " ").split()):
            raise web_api.InsufficientScope("the user has not granted it")
        # By spotipy's clock, which is not PostgreSQL's.
        fresh_until = max(
            int(token.expires_at.timestamp()), int(time.time()) + LIFE_THAT_SPOTIPY_WANTS
        )
        return {
            "access_token": token.value,
            "refresh_token": None,
            "expires_at": fresh_until,
            "scope": " ".join(sorted(token.scopes)),
            "token_type": "Bearer",
        }

    @forgets_variables
    def save_token_to_cache(self, token_info: dict[str, Any]) -> None:
        """Take over what a login was granted. The caller's copy keeps no refresh token.

        Raises what `adopt` does: with an `account_id` AccountTaken if another user has it, and
        DifferentAccount if this user has connected another.
        """
        adopt(
            self._user,
            access_token=token_info["access_token"],
            refresh_token=token_info["refresh_token"],
            expires_at=datetime.fromtimestamp(token_info["expires_at"], UTC),
            scope=token_info.get("scope") or "",
            authorized_at=connections.database_now(),
            cause=Cause.LOGIN,
            account_id=self._account_id,
        )
        token_info["refresh_token"] = None
