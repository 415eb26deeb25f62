"""What a refresh writes: bytes of WAL, and growth of the event table and its indexes."""

from django.db import connection as database

from spotify_auth import connection, lanes
from spotify_auth.models import SpotifyToken

SPREAD = 30
"""One token in so many is refreshed, so that each lies on a page of its own."""


def measure_storage() -> None:
    """Refresh a few tokens just after a checkpoint, then all of them, and see what grows."""
    _run("VACUUM spotify_auth_spotifytoken")
    thin = SpotifyToken.objects.values_list("pk", flat=True).order_by("pk")[::SPREAD]
    SpotifyToken.objects.filter(pk__in=list(thin)).update(due_at=connection.database_now())
    # After a checkpoint the first change of a page writes the whole page into the WAL.
    _run("CHECKPOINT")
    _refresh("no page written since the checkpoint")
    SpotifyToken.objects.update(due_at=connection.database_now())
    _refresh("every page written since the checkpoint")
    _run("VACUUM FULL spotify_auth_spotifytoken")
    size = _size("spotify_auth_spotifytoken") / SpotifyToken.objects.count()
    print(f"token with its indexes, without free space: {size:.0f} bytes")


def _refresh(when: str) -> None:
    wal, events = _wal(), _size("spotify_auth_tokenevent")
    refreshed = lanes.run_lane()
    written, grown = _wal() - wal, _size("spotify_auth_tokenevent") - events
    print(
        f"{refreshed} refreshes, {when}: {written / refreshed:.0f} bytes of WAL each, "
        f"history grows by {grown / refreshed:.0f} bytes each"
    )


def _run(statement: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(statement)


def _wal() -> int:
    """Bytes of WAL written since the database was made."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


def _size(table: str) -> int:
    """Bytes of a table with its indexes."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s)", [table])
        return int(cursor.fetchone()[0])
