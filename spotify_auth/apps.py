"""The spotify_auth application."""

from django.apps import AppConfig


class SpotifyAuthConfig(AppConfig):
    name = "spotify_auth"
    verbose_name = "Spotify tokens"
    # A project's DEFAULT_AUTO_FIELD must not ask for migrations of this app.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from spotify_auth import checks

        checks.register_all()
