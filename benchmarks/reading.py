"""Reading a token, decryption included, beside one raw SELECT of the same row."""

import statistics
import time
from collections.abc import Callable

import psycopg
from django.db import connection as database

from benchmarks.bulk_users import connect_people
from benchmarks.measurement import Row, micro
from spotify_auth import tokens
from spotify_auth.models import SpotifyToken
from tests.support.sandbox_client import Sandbox

TITLE = "Reading"
PEOPLE = 500
TURNS = 6000
_SELECT = "SELECT access_token, expires_at FROM spotify_auth_spotifytoken WHERE user_id = %s"


def run(*, long: bool) -> list[Row]:
    """Both reads in turns, each of another row than the time before."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        user_ids = [person.pk for person in connect_people(sandbox, PEOPLE)]
    parameters = database.get_connection_params()
    with psycopg.connect(
        **{name: parameters[name] for name in ("host", "port", "user", "password", "dbname")},
        autocommit=True,
    ) as raw:

        def floor(user_id: int) -> object:
            return raw.execute(_SELECT, [user_id]).fetchone()

        timed: dict[Callable[[int], object], list[float]] = {
            floor: [],
            tokens.access_token_for: [],
        }
        for turn in range(TURNS * (5 if long else 1)):
            # The second reader finds the row in the processor's caches, so they take turns.
            for read in reversed(timed) if turn % 2 else timed:
                started = time.perf_counter()
                read(user_ids[turn % PEOPLE])
                timed[read].append(time.perf_counter() - started)
    SpotifyToken.objects.all().delete()
    bare, ours = (statistics.median(times) for times in timed.values())
    slow = statistics.quantiles(timed[tokens.access_token_for], n=100)[98]
    return [
        Row(
            what="access_token_for(user), decryption included",
            target="at most 2.0 x the raw SELECT",
            figure=f"{micro(ours)}: {ours / bare:.2f} x (p99 {micro(slow)})",
            floor=f"{micro(bare)} raw psycopg SELECT",
            met=ours / bare <= 2.0,
        )
    ]
