"""Authlib's Django client, with the token in a model of the site's own.

https://docs.authlib.org/en/latest/client/django.html and .../client/frameworks.html ("Web OAuth
Clients": `fetch_token`, `update_token`). It refreshes when less than 60 s are left (`leeway`).
No lock is documented for this client.
"""

import time
from collections.abc import Mapping
from typing import Any

from authlib.integrations.django_client import OAuth, OAuthError
from authlib.integrations.requests_client import OAuth2Session
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest

from benchmarks.peers.authlib_tokens.models import OAuth2Token
from benchmarks.peers.users import user_named

REFUSED = (OAuthError,)


def fetch_token(name: str, request: HttpRequest) -> dict[str, str | int]:
    """The user's token, as the client asks for it."""
    return OAuth2Token.objects.get(name=name, user_id=request.user.pk).to_token()


def update_token(
    name: str,
    token: Mapping[str, Any],
    refresh_token: str | None = None,
    access_token: str | None = None,
) -> None:
    """Store what a refresh has given: the row is found by the token that was replaced."""
    if refresh_token:
        item = OAuth2Token.objects.get(name=name, refresh_token=refresh_token)
    else:
        item = OAuth2Token.objects.get(name=name, access_token=access_token)
    item.access_token = token["access_token"]
    item.refresh_token = token.get("refresh_token") or item.refresh_token
    item.expires_at = token["expires_at"]
    item.save()


oauth = OAuth(fetch_token=fetch_token, update_token=update_token)
oauth.register(
    "spotify",
    client_id=settings.SPOTIFY_CLIENT_ID,
    client_secret=settings.SPOTIFY_CLIENT_SECRET,
    access_token_url=f"{settings.SPOTIFY_ACCOUNTS_URL}/api/token",
    authorize_url=f"{settings.SPOTIFY_ACCOUNTS_URL}/authorize",
    api_base_url=f"{settings.SPOTIFY_API_URL}/v1/",
)


def user_for(persona: str, answer: Mapping[str, Any]) -> AbstractUser:
    """Nothing of Authlib's: a plain user."""
    return user_named(persona)


def save_login(request: HttpRequest, answer: Mapping[str, Any]) -> None:
    """As the callback stores it after `authorize_access_token`."""
    OAuth2Token.objects.update_or_create(
        user_id=request.user.pk,
        name="spotify",
        defaults={
            "token_type": answer["token_type"],
            "access_token": answer["access_token"],
            "refresh_token": answer["refresh_token"],
            "expires_at": int(time.time()) + answer["expires_in"],
        },
    )


def read(request: HttpRequest) -> str:
    """One row, the session that a call is made with, and its expiry check.

    The Django client has no way to get a token without a call; this is what it does
    before one.
    """
    session = OAuth2Session(
        settings.SPOTIFY_CLIENT_ID,
        settings.SPOTIFY_CLIENT_SECRET,
        token=fetch_token("spotify", request),
        token_endpoint=f"{settings.SPOTIFY_ACCOUNTS_URL}/api/token",
    )
    session.ensure_active_token(session.token)
    token: str = session.token["access_token"]
    return token


def profile(request: HttpRequest) -> dict[str, Any]:
    """The client fetches the token, refreshes it if need be, and makes the call."""
    response = oauth.spotify.get("me", request=request)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def stored_refresh_token(request: HttpRequest) -> str:
    """From the model."""
    return str(fetch_token("spotify", request)["refresh_token"])
