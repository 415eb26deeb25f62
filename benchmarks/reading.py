"""Reading a token, decryption included: in threads, and in async views.

In threads, beside a raw SELECT of the same row with its decryption, and a GET of as many bytes
from Redis: each for itself by one thread and by sixteen, in turns. In an async view under uvicorn,
beside the same view with psycopg's own async connection, and one that reads nothing.
"""

import http.client
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
import redis
from django.conf import settings
from django.db import connection as database
from django.db import connections

from benchmarks.bulk_users import connect_people
from benchmarks.measurement import Row, micro, milli
from benchmarks.service import environment
from dev.process import free_port
from spotify_auth import tokens
from spotify_auth.models import SpotifyToken
from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox

TITLE = "Reading"
PEOPLE = 500
THREADS = (1, 16)
TURNS = 5
READS = 2000
"""In one turn, by all threads together."""
REQUESTS = 250
MOST = 1.5
_SELECT = "SELECT access_token, expires_at FROM spotify_auth_spotifytoken WHERE user_id = %s"

Read = Callable[[int], object]


class _Floors(threading.local):
    """What a thread reads raw by: connections of its own."""

    def __init__(self) -> None:
        parameters = database.get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        self._session = psycopg.connect(
            **{name: parameters[name] for name in names}, autocommit=True
        )
        self._redis = redis.Redis.from_url(settings.REDIS_URL)

    def select(self, user_id: int) -> str:
        """One SELECT and its decryption."""
        row = self._session.execute(_SELECT, [user_id]).fetchone()
        assert row
        return SpotifyToken.unseal("access_token", row[0], user_id=user_id)

    def get(self, user_id: int) -> object:
        """A value as long as a token."""
        return self._redis.get(_key(user_id))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Views:
    """Medians in seconds of a request, by what its view does."""

    read: float
    sync: float
    page: float
    raw: float
    nothing: float


def run(*, long: bool) -> list[Row]:
    """Threads first, then views."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        user_ids = [person.pk for person in connect_people(sandbox, PEOPLE)]
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.mset({_key(user_id): "t" * 200 for user_id in user_ids})
            threads = [
                _row_of_threads(user_ids, threads, turns=TURNS * (5 if long else 1))
                for threads in THREADS
            ]
            client.delete(*map(_key, user_ids))
        pooled = _views(sandbox, user_ids, POOL="1")
        new = _views(sandbox, user_ids)
    SpotifyToken.objects.all().delete()
    return [*threads, _row_of_views(pooled, new)]


def _key(user_id: int) -> str:
    return f"bench_reading:{user_id}"


def _row_of_threads(user_ids: Sequence[int], threads: int, *, turns: int) -> Row:
    floors = _Floors()
    seconds: dict[Read, list[float]] = {
        floors.select: [],
        tokens.access_token_for: [],
        floors.get: [],
    }
    for _ in range(turns):
        for read, times in seconds.items():
            times.append(_each(read, user_ids, threads))
    raw, ours, cached = (statistics.median(times) for times in seconds.values())
    many = f", {threads} threads" if threads > 1 else ""
    return Row(
        what=f"access_token_for(user), decryption included{many}",
        target=f"at most {MOST} x the raw read",
        figure=f"{micro(ours)}: {ours / raw:.2f} x",
        floor=f"{micro(raw)} raw psycopg SELECT and decryption, {micro(cached)} GET of Redis",
        met=ours / raw <= MOST,
    )


def _each(read: Read, user_ids: Sequence[int], threads: int) -> float:
    """Seconds of a read, when so many threads read without a pause."""
    share = READS // threads
    ready, done = threading.Barrier(threads + 1), threading.Barrier(threads + 1)

    def work(first: int) -> None:
        for user_id in user_ids[:20]:  # connects, and lets psycopg prepare what it prepares
            read(user_id)
        ready.wait()
        for n in range(first, first + share):
            read(user_ids[n % PEOPLE])
        done.wait()
        connections.close_all()

    running = [threading.Thread(target=work, args=(n * 31,)) for n in range(threads)]
    for thread in running:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - started
    for thread in running:
        thread.join()
    return seconds / (share * threads)


def _views(sandbox: Sandbox, user_ids: Sequence[int], **variables: str) -> _Views:
    """Let one client after the other visit the views, which take turns."""
    port = free_port()
    site = LocalProcess(
        "asgi",
        [
            *(sys.executable, "-m", "uvicorn", "benchmarks.async_site:application"),
            *("--host", "127.0.0.1", "--port", str(port), "--no-access-log"),
        ],
        env=environment(sandbox, lanes=1, **variables),
        ready_when="running on",
    )
    seconds: dict[str, list[float]] = {"read": [], "sync": [], "page": [], "raw": [], "nothing": []}
    try:
        site.ready()
        client = http.client.HTTPConnection("127.0.0.1", port)
        for n in range(REQUESTS):
            for view, times in seconds.items():
                started = time.perf_counter()
                client.request("GET", f"/{view}/{user_ids[n % PEOPLE]}")
                answer = client.getresponse().read()
                times.append(time.perf_counter() - started)
                if answer != b"True":
                    raise RuntimeError(f"{view} answered {answer[:200]!r}")
        client.close()
    finally:
        site.teardown()
    return _Views(**{view: statistics.median(times) for view, times in seconds.items()})


def _row_of_views(pooled: _Views, new: _Views) -> Row:
    return Row(
        what="a request whose async view awaits aaccess_token_for(user), with Django's pool",
        target=f"at most {MOST} x the raw read",
        figure=f"{milli(pooled.read)}: {pooled.read / pooled.raw:.2f} x "
        f"({milli(new.read)} with a new connection each time)",
        floor=f"{milli(pooled.raw)} with psycopg's async connection, "
        f"{milli(pooled.nothing)} without a read; {milli(pooled.sync)} in a sync view, "
        f"{milli(pooled.page)} in an async one with `spotify_required`",
        met=pooled.read / pooled.raw <= MOST,
    )
