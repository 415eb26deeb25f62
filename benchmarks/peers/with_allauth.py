"""django-allauth keeps the token (`SocialToken`), requests-oauthlib refreshes it.

https://docs.allauth.org/en/latest/socialaccount/configuration.html (STORE_TOKENS). allauth itself
does not refresh (issue 420 of its repository), so the usual companion does, in the way its
documentation recommends: https://requests-oauthlib.readthedocs.io/en/latest/oauth2_workflow.html
("Refreshing tokens", the third way: `auto_refresh_url` and `token_updater`). It refreshes once
the token has expired. No lock is documented.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.socialaccount.models import SocialAccount, SocialToken
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from oauthlib.oauth2 import OAuth2Error
from requests_oauthlib import OAuth2Session

from benchmarks.peers.users import user_named

REFUSED = (OAuth2Error,)


def user_for(persona: str, answer: Mapping[str, Any]) -> AbstractUser:
    """A user with the account that allauth makes at the first login."""
    user = user_named(persona)
    SocialAccount.objects.get_or_create(user=user, provider="spotify", uid=answer["account_id"])
    return user


def save_login(request: HttpRequest, answer: Mapping[str, Any]) -> None:
    """As allauth stores a token: the application is in the settings, so `app` is empty."""
    account = SocialAccount.objects.get(user_id=request.user.pk, provider="spotify")
    SocialToken.objects.update_or_create(
        account=account,
        defaults={
            "token": answer["access_token"],
            "token_secret": answer["refresh_token"],
            "expires_at": datetime.now(UTC) + timedelta(seconds=answer["expires_in"]),
        },
    )


def read(request: HttpRequest) -> str:
    """One row, and the session that a call is made with (which checks the expiry)."""
    token: str = _session(_stored(request)).access_token
    return token


def profile(request: HttpRequest) -> dict[str, Any]:
    """The call refreshes first, if need be. Spotify wants the client in HTTP Basic."""
    response = _session(_stored(request)).get(
        f"{settings.SPOTIFY_API_URL}/v1/me",
        client_id=settings.SPOTIFY_CLIENT_ID,
        client_secret=settings.SPOTIFY_CLIENT_SECRET,
    )
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def stored_refresh_token(request: HttpRequest) -> str:
    """From the model."""
    token: str = _stored(request).token_secret
    return token


def _stored(request: HttpRequest) -> Any:
    return SocialToken.objects.get(account__user_id=request.user.pk, account__provider="spotify")


def _session(stored: Any) -> Any:
    def save(token: Mapping[str, Any]) -> None:
        stored.token = token["access_token"]
        stored.token_secret = token["refresh_token"]
        stored.expires_at = datetime.now(UTC) + timedelta(seconds=token["expires_in"])
        stored.save()

    return OAuth2Session(
        settings.SPOTIFY_CLIENT_ID,
        token={
            "access_token": stored.token,
            "refresh_token": stored.token_secret,
            "token_type": "Bearer",
            "expires_in": (stored.expires_at - datetime.now(UTC)).total_seconds(),
        },
        auto_refresh_url=f"{settings.SPOTIFY_ACCOUNTS_URL}/api/token",
        token_updater=save,
    )
