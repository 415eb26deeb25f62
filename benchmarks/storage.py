"""The writes of a refresh: bytes of WAL, and growth of the event table and its indexes.

Runs first: a vacuum of what other parts left would write as well, and what they left free
in the event table would be filled before it grows.
"""

from datetime import timedelta

from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import override_settings

from benchmarks.bulk_users import connect_people
from benchmarks.measurement import Row
from spotify_auth import connections, tokens
from spotify_auth.history.tables import ROUTINE
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.refresh import lanes
from tests.support.sandbox_client import Sandbox

TITLE = "Storage"
PEOPLE = 3000

SPREAD = 30
"""One token in this number is refreshed, so that no two share a page."""


def run(*, long: bool) -> list[Row]:
    """Refresh a few tokens just after a checkpoint, then all of them, and see what grows."""
    with (
        Sandbox(access_token_lifetime=3600) as sandbox,
        override_settings(SPOTIFY_ACCOUNTS_URL=sandbox.url, SPOTIFY_API_URL=sandbox.url),
    ):
        connect_people(sandbox, PEOPLE)
        _run("VACUUM spotify_auth_spotifytoken")
        thin = SpotifyToken.objects.values_list("pk", flat=True).order_by("pk")[::SPREAD]
        SpotifyToken.objects.update(due_at=Now() + timedelta(hours=1))
        SpotifyToken.objects.filter(pk__in=list(thin)).update(due_at=connections.database_now())
        # After a checkpoint the first change of a page writes the whole page into the WAL.
        _run("CHECKPOINT")
        rows = [_refresh("no page written since the checkpoint")]
        SpotifyToken.objects.update(due_at=connections.database_now())
        before = _size(ROUTINE)
        rows.append(_refresh("every page written since the checkpoint"))
        grown = _size(ROUTINE) - before
    _run("VACUUM FULL spotify_auth_spotifytoken")
    size = _size("spotify_auth_spotifytoken") / SpotifyToken.objects.count()
    characters = len(tokens.access_token_for(thin[0]).value)
    SpotifyToken.objects.all().delete()
    # Lanes are opened by the latency of the latest exchanges, and these were quick ones.
    TokenEvent.objects.all().delete()
    return [
        *rows,
        Row(
            what="a row of the history with its indexes",
            target="",
            figure=f"{grown / PEOPLE:.0f} bytes",
        ),
        Row(
            what="a token with its indexes, freshly packed, the sandbox's tokens of "
            f"{characters} characters",
            target="",
            figure=f"{size:.0f} bytes",
        ),
    ]


def _refresh(when: str) -> Row:
    before = _wal()
    refreshed = lanes.run_lane()
    return Row(
        what=f"WAL of one refresh, {when} ({refreshed} refreshes)",
        target="",
        figure=f"{(_wal() - before) / refreshed:.0f} bytes",
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
