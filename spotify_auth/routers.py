"""A database router for projects that have several databases."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS

_APP = "spotify_auth"


class DefaultDatabase:
    """Keeps this app's tables in the default database, and has no opinion on others.

    The app's own SQL goes there too: what a replica, or another database, answers would not fit.
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Where rows of a model are read."""
        return DEFAULT_DB_ALIAS if model._meta.app_label == _APP else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Whether `migrate` makes an app's tables in a database."""
        return db == DEFAULT_DB_ALIAS if app_label == _APP else None
