"""spotipy, with Django sessions in the database as its token store.

https://spotipy.readthedocs.io/ ("Customized token caching", `DjangoSessionCacheHandler`) and
`examples/app.py` of its repository: an auth manager for each request, given to the client.
It refreshes when less than 60 s are left. No lock is documented.
"""

from collections.abc import Mapping
from typing import Any

import spotipy
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from spotipy.cache_handler import DjangoSessionCacheHandler
from spotipy.oauth2 import SpotifyOAuth, SpotifyOauthError

from benchmarks.peers.users import user_named

REFUSED = (SpotifyOauthError,)

SpotifyOAuth.OAUTH_TOKEN_URL = f"{settings.SPOTIFY_ACCOUNTS_URL}/api/token"


def user_for(persona: str, answer: Mapping[str, Any]) -> AbstractUser:
    """Nothing of spotipy's: a plain user."""
    return user_named(persona)


def save_login(request: HttpRequest, answer: Mapping[str, Any]) -> None:
    """As `get_access_token(code)` does after a login."""
    manager = _auth_manager(request)
    token = manager._add_custom_values_to_token_info(dict(answer))
    manager.cache_handler.save_token_to_cache(token)


def read(request: HttpRequest) -> str:
    """Session row, expiry check, token."""
    token: str = _auth_manager(request).get_access_token(as_dict=False)
    return token


def profile(request: HttpRequest) -> dict[str, Any]:
    """The client asks the auth manager for a token before each call."""
    client = spotipy.Spotify(auth_manager=_auth_manager(request))
    client.prefix = f"{settings.SPOTIFY_API_URL}/v1/"
    answer: dict[str, Any] = client.me()
    return answer


def stored_refresh_token(request: HttpRequest) -> str:
    """From the session."""
    token: str = request.session["token_info"]["refresh_token"]
    return token


def _auth_manager(request: HttpRequest) -> Any:
    return SpotifyOAuth(
        client_id=settings.SPOTIFY_CLIENT_ID,
        client_secret=settings.SPOTIFY_CLIENT_SECRET,
        redirect_uri=settings.SPOTIFY_REDIRECT_URI,
        scope="user-top-read",
        cache_handler=DjangoSessionCacheHandler(request),
    )
