"""Two libraries at the sandbox: they have no setting for Spotify's addresses."""

import os
from typing import Any

from django.apps import AppConfig
from social_core.backends.spotify import SpotifyOAuth2

SPOTIFY = os.environ["SPOTIFY_URL"]


class Sandboxed(AppConfig):
    """Changes the addresses before the first login."""

    name = "bridged.sandboxed"
    label = "sandboxed"

    def ready(self) -> None:
        """Change what the classes have."""
        from allauth.socialaccount.providers.spotify.views import SpotifyOAuth2Adapter

        SpotifyOAuth2Adapter.access_token_url = f"{SPOTIFY}/api/token"
        SpotifyOAuth2Adapter.authorize_url = f"{SPOTIFY}/authorize"
        SpotifyOAuth2Adapter.profile_url = f"{SPOTIFY}/v1/me"


class Spotify(SpotifyOAuth2):
    """social-auth's backend; the address of the profile is within its method."""

    AUTHORIZATION_URL = f"{SPOTIFY}/authorize"
    ACCESS_TOKEN_URL = f"{SPOTIFY}/api/token"

    def user_data(self, access_token: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """As the library asks, at another address."""
        headers = {"Authorization": f"Bearer {access_token}"}
        return self.get_json(f"{SPOTIFY}/v1/me", headers=headers)
