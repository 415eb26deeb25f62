"""social-auth-app-django: the token in `UserSocialAuth.extra_data`.

https://python-social-auth.readthedocs.io/en/latest/backends/oauth.html ("Token renewal"):
`social.get_access_token(strategy)` before each use. It refreshes when 5 s or less are left.
No lock is documented.
"""

from collections.abc import Mapping
from typing import Any, cast

import requests
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from social_core.backends.spotify import SpotifyOAuth2
from social_core.exceptions import SocialAuthBaseException
from social_django.models import UserSocialAuth
from social_django.utils import load_strategy

from benchmarks.peers.users import me, user_named

REFUSED = (SocialAuthBaseException, requests.HTTPError)


class Spotify(SpotifyOAuth2):  # type: ignore[misc]  # installed by `make bench` only
    """The package's backend, pointed at the sandbox."""

    ACCESS_TOKEN_URL = f"{settings.SPOTIFY_ACCOUNTS_URL}/api/token"


def user_for(persona: str, answer: Mapping[str, Any]) -> AbstractUser:
    """A user with the association that the pipeline makes at the first login."""
    user = user_named(persona)
    if not UserSocialAuth.objects.filter(user=user).exists():
        UserSocialAuth.create_social_auth(user, answer["account_id"], "spotify")
    return user


def save_login(request: HttpRequest, answer: Mapping[str, Any]) -> None:
    """As the pipeline's `load_extra_data` does."""
    social = _social(request)
    backend = social.get_backend_instance(load_strategy())
    social.set_extra_data(
        backend.extra_data(request.user, social.uid, dict(answer), details={}, pipeline_kwargs={})
    )
    social.save()


def read(request: HttpRequest) -> str:
    """One row, expiry check, token."""
    token: str = _social(request).get_access_token(load_strategy(request))
    return token


def profile(request: HttpRequest) -> dict[str, Any]:
    """The package gives the token; the call is the site's own."""
    return me(read(request))


def stored_refresh_token(request: HttpRequest) -> str:
    """From `extra_data`."""
    token: str = _social(request).extra_data["refresh_token"]
    return token


def _social(request: HttpRequest) -> Any:
    return cast(Any, request.user).social_auth.get(provider="spotify")
