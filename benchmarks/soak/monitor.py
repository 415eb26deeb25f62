"""The monitor: samples while the soak runs, and who had to log in again, and why."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil
import psycopg
from django.db import Error
from django.db import connection as database

from benchmarks.soak.cluster import Cluster, pid_of
from spotify_auth.models import SpotifyToken
from spotify_auth.sandbox.state import digest_of

EVERY_SECONDS = 2.0

_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForcedLogin:
    """Somebody who must log in again. `seconds` after the start of the soak."""

    seconds: float
    user_id: int
    reason: str
    excuse: str
    """How the answer was lost, or nothing if that was our doing."""


class Monitor:
    """Takes a sample every two seconds, whenever `look` is called."""

    def __init__(self, cluster: Cluster) -> None:
        self.memory: dict[int, list[tuple[float, int]]] = {}
        """Resident bytes by process id, each with the seconds since the start."""
        self.names: dict[int, str] = {}
        self.connections: list[tuple[float, int]] = []
        self.forced_logins: list[ForcedLogin] = []
        self._cluster = cluster
        self._started = time.monotonic()
        self._next = 0.0
        self._deadlocks_before = 0
        self._deadlocks = 0

    @property
    def seconds(self) -> float:
        """How long the soak has run."""
        return time.monotonic() - self._started

    def look(self) -> None:
        """Sample if it is time to; what cannot be seen while a server is away is left out."""
        if self.seconds < self._next:
            return
        self._next = self.seconds + EVERY_SECONDS
        for worker in self._cluster.workers:
            self._sample_memory(worker.name, pid_of(worker))
        with suppress(psycopg.OperationalError):
            self._sample_database()
        try:
            self._let_people_log_in_again()
        except Error:
            database.close()

    def deadlocks(self) -> int:
        """PostgreSQL's count, over all its lives, or its log's if that has more."""
        server = self._cluster.postgres.server
        logged = server.log.read_text(errors="replace").count("deadlock detected") if server else 0
        return max(logged, self._deadlocks_before + self._deadlocks)

    def _sample_memory(self, name: str, pid: int) -> None:
        with suppress(psutil.NoSuchProcess):
            self.names[pid] = name
            resident = psutil.Process(pid).memory_info().rss
            self.memory.setdefault(pid, []).append((self.seconds, resident))

    def _sample_database(self) -> None:
        with self._cluster.session() as session:
            sessions = _number(session, _SESSIONS)
            deadlocks = _number(session, _DEADLOCKS)
        self.connections.append((self.seconds, sessions))
        if deadlocks < self._deadlocks:  # PostgreSQL forgets its counts when it is killed
            self._deadlocks_before += self._deadlocks
        self._deadlocks = deadlocks

    def _let_people_log_in_again(self) -> None:
        """As a user would: the soak continues with all users."""
        refused = SpotifyToken.objects.filter(status=SpotifyToken.Status.RECONNECT_REQUIRED)
        for token in refused:
            found = ForcedLogin(
                seconds=self.seconds,
                user_id=token.pk,
                reason=token.last_error,
                excuse=self._excuse(digest_of(token.refresh_token or "")),
            )
            self._cluster.log_in([self._cluster.personas[token.pk]])
            self.forced_logins.append(found)

    def _excuse(self, digest: str) -> str:
        if digest in self._cluster.killed_in_flight:
            return "in flight at a SIGKILL"
        if digest in self._cluster.sandbox.stats()["answers_spoiled"]:
            return "cut by the sandbox"
        return ""


def _number(session: psycopg.Connection, query: str) -> int:
    row = session.execute(query).fetchone()
    return int(row[0]) if row else 0


def medians(samples: list[tuple[float, int]], *, seconds: float) -> Iterator[int]:
    """The median around the start (after a tenth of the time), the middle and the end."""
    for share in (0.1, 0.45, 0.9):
        window = sorted(
            value for at, value in samples if share * seconds <= at <= (share + 0.1) * seconds
        )
        yield window[len(window) // 2] if window else 0
