"""A project with several databases keeps this app's tables in the first."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from tests.support.another_database import sqlite_beside


class OnlySpotify:
    """`accounts` is for PostgreSQL too; here it is another project's app."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
        return False if app_label == "accounts" else None


@pytest.fixture
def other_database(settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A database that migrations of this app pass over."""
    settings.DATABASE_ROUTERS = ["spotify_auth.routers.DefaultDatabase", OnlySpotify()]
    with sqlite_beside() as name, django_db_blocker.unblock():
        yield name


def test_migrations_pass_over_another_database(other_database: str) -> None:
    for target in ("0031", "zero"):
        call_command("migrate", "spotify_auth", target, database=other_database, verbosity=0)

        tables = connections[other_database].introspection.table_names()
        assert not [name for name in tables if name.startswith("spotify_auth")]
