"""The doctor asks PostgreSQL."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.backends.base import base
from django.db.backends.postgresql.features import DatabaseFeatures
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from spotify_auth.checks import connections_allowed
from spotify_auth.maintenance import functions
from tests.support.doctor import diagnose
from tests.support.keys import NEW, OLD, keys
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def sessions_with(option: str) -> Iterator[None]:
    """New sessions of this process have this setting of PostgreSQL's."""
    options = connection.settings_dict["OPTIONS"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(options, "options", f"-c {option}")
        yield


def test_a_primary_with_all_its_tables() -> None:
    said = diagnose("postgresql", "migrations", "keys")

    assert (said.bad, said.code) == ([], 0)


def test_max_connections_too_low(settings: Settings) -> None:
    settings.MOST_DATABASE_CONNECTIONS = 10**6

    said = diagnose("postgresql")

    words = f"Up to 1000000 connections are opened, and it takes {connections_allowed()}."
    assert (said.bad, said.code) == ([("problem", words)], 1)


def test_a_server_that_takes_no_changes() -> None:
    with sessions_with("default_transaction_read_only=on"):
        said = diagnose("postgresql")

    words = "It is read only: tokens are read, and none is refreshed."
    assert said.bad == [("problem", words)]


@contextmanager
def a_role_that_may(right: str) -> Iterator[None]:
    """New sessions of this process have this right on every table, and no other."""
    # Roles belong to all databases of a server, and each process of pytest-xdist has one.
    role = f"another_of_{connection.settings_dict['NAME']}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        try:
            cursor.execute(f"GRANT {right} ON ALL TABLES IN SCHEMA public TO {role}")
            with sessions_with(f"role={role}"):
                yield
        finally:
            cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_that_only_reads() -> None:
    with a_role_that_may("SELECT"):
        said = diagnose("postgresql", "migrations")

    ((level, words),) = said.bad
    assert level == "problem"
    assert "lacks rights: DELETE, INSERT, UPDATE on spotify_auth_announcedpause and" in words


def test_a_role_that_reads_nothing() -> None:
    with a_role_that_may("TRUNCATE"):
        said = diagnose("migrations", "queues")

    refused = [each for each in said.findings if each["check"] == "migrations"]
    assert "permission denied for table django_migrations" in refused[0]["found"]
    assert refused[0]["advice"].startswith("Grant the role of DATABASE_URL its rights")
    # Nobody knows, and so nobody says, that there is no worker.
    assert not any("No worker" in words for _, words in said.bad)


def test_a_version_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseFeatures, "minimum_database_version", (99,))
    monkeypatch.setattr(base, "RAN_DB_VERSION_CHECK", set())

    ((level, words),) = diagnose("postgresql").bad

    assert level == "problem"
    assert words.startswith("PostgreSQL is too old. NotSupportedError: PostgreSQL 99 or later")


def test_a_clock_that_is_ahead() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE SCHEMA ahead;
            CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql
            RETURN pg_catalog.clock_timestamp() + interval '90 seconds';
            """
        )
    try:
        with sessions_with("search_path=ahead,public,pg_catalog"):
            said = diagnose("postgresql")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA ahead CASCADE")

    ((level, words),) = said.bad
    ahead = re.fullmatch(r"Its clock is (\d+\.\d) s ahead of this host's\.", words)
    assert ahead
    assert level == "warning"
    assert float(ahead[1]) == pytest.approx(90, abs=10)


def test_a_database_that_is_not_migrated() -> None:
    last = MigrationRecorder.Migration.objects.filter(app="spotify_auth").latest("pk")
    last.delete()
    try:
        said = diagnose("migrations")
    finally:
        last.save(force_insert=True)

    words = "Migrations: 1 are missing."
    assert (said.bad, said.code) == ([("problem", words)], 1)


def test_functions_that_are_missing() -> None:
    with connection.cursor() as cursor:
        for statement in functions.wanted():
            cursor.execute(f"DROP FUNCTION {statement.name}")
    try:
        said = diagnose("migrations")
    finally:
        call_command("migrate", verbosity=0)

    assert (said.code, [level for level, _ in said.bad]) == (0, ["warning"])
    assert said.bad[0][1].startswith("The functions that keep the plans of refreshes are missing")
    assert diagnose("migrations").bad == []


def test_rows_whose_key_is_missing_and_rows_under_an_older_one(connect: Connect) -> None:
    with keys(OLD):
        connect()

    with keys(NEW):
        missing = diagnose("keys")
    with keys(NEW, OLD):
        older = diagnose("keys")

    assert missing.code == 1
    assert [level for level, _ in missing.bad] == ["problem", "problem"]
    assert missing.bad[0][1].startswith(
        "No key opens 1 values of spotify_auth_spotifytoken.access_token: they are under key "
    )
    assert older.code == 0
    assert [level for level, _ in older.bad] == ["warning", "warning"]
