"""The spotify_auth application."""

from django.apps import AppConfig


class SpotifyAuthConfig(AppConfig):
    name = "spotify_auth"
    verbose_name = "Spotify tokens"

    def ready(self) -> None:
        """Register the system checks."""
