"""A backup of the tokens and their history, and its restoring, as pg_dump and pg_restore do it."""

from datetime import datetime

from django.db import connection as database

_TABLES = ("spotify_auth_spotifytoken", "spotify_auth_tokenevent")


def back_up() -> datetime:
    """Copy the tables; the moment of the copy, by PostgreSQL's clock."""
    with database.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS backup_{table}")
            cursor.execute(f"CREATE TABLE backup_{table} AS TABLE {table}")
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def restore() -> None:
    """Put the copies back. All that came after them is lost."""
    with database.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608
            cursor.execute(f"INSERT INTO {table} SELECT * FROM backup_{table}")  # noqa: S608


def forget_backup() -> None:
    """Drop the copies."""
    with database.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS backup_{table}")
