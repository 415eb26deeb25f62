"""The spotify_auth application."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SpotifyAuthConfig(AppConfig):
    name = "spotify_auth"
    verbose_name = "Spotify tokens"
    # A project's DEFAULT_AUTO_FIELD must not ask for migrations of this app.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and what `migrate` does at its end."""
        from spotify_auth import checks

        checks.register_all()
        post_migrate.connect(_make_functions, sender=self)


def _make_functions(**arguments: Any) -> None:
    # Not before: whoever needs no database, as a page's process at its start, loads no lanes.
    from spotify_auth.maintenance import functions

    functions.make_after_migrations(**arguments)
