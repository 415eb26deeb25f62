"""The cluster of a soak: servers, sandbox, workers, beats, users and exchanges in flight."""

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals
from typing import cast

import psutil
import psycopg
from django.db.models import F

from accounts.users import user_for_account
from benchmarks.soak.config import Config
from dev.postgres import Postgres
from dev.redis import Redis
from dev.server import Server
from dev.testing import DATABASE
from spotify_auth import connections, redis_client
from spotify_auth.models import SpotifyToken
from spotify_auth.sandbox.state import digest_of
from spotify_auth.schedule import REFRESH_WINDOW
from tests.support.processes import LocalProcess, beat_process, teardown_together, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import grant_of

# FOR UPDATE leaves the number of the locking transaction in the row, and its backend
# holds a lock on that number: PostgreSQL's own answer to "who is exchanging which token".
_IN_FLIGHT = """
SELECT token.user_id
FROM spotify_auth_spotifytoken AS token
JOIN pg_locks AS held ON held.locktype = 'transactionid' AND held.granted
                     AND held.transactionid = token.xmax
JOIN pg_stat_activity AS session USING (pid)
WHERE session.application_name = %s
"""


ODD_ROWS = 2
"""Users for whom Spotify answers every refresh with an error of the client. One fewer than it
takes for the service to believe that its own credentials are refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LostExchange:
    """An exchange that Spotify may have carried out, and whose answer nobody reads."""

    user_id: int
    generation: int
    how: str


class Cluster:
    """Everything that takes part, and the ways to look at it."""

    def __init__(
        self,
        config: Config,
        *,
        postgres: Postgres,
        redis: Redis,
        sandbox: Sandbox,
        workers: list[LocalProcess],
        beats: list[LocalProcess],
    ) -> None:
        self.config = config
        self.postgres = postgres
        self.redis = redis
        self.sandbox = sandbox
        self.workers = workers
        self.beats = beats
        self.personas: dict[int, str] = {}
        self.lost_in_flight: dict[str, LostExchange] = {}
        """By the digest of the refresh token that was presented."""
        self.frozen: LocalProcess | None = None
        """The worker that is frozen beyond its lock now, if there is one."""
        self.revoked_at: dict[int, float] = {}
        """Users who were revoked at Spotify, and have not logged in since (monotonic time)."""

    @property
    def processes(self) -> list[LocalProcess]:
        """Every process of the service."""
        return [*self.workers, *self.beats]

    @property
    def user_ids(self) -> list[int]:
        """All users, in the order of their first login."""
        return list(self.personas)

    @property
    def odd_personas(self) -> list[str]:
        """The users for whom Spotify answers with an error of the client, all the while."""
        return list(self.personas.values())[:ODD_ROWS]

    @property
    def odd_user_ids(self) -> list[int]:
        """The same, as the service knows them."""
        return self.user_ids[:ODD_ROWS]

    def session(self) -> psycopg.Connection:
        """A new session that sees everything and may write, even to a read-only database."""
        return psycopg.connect(
            self.postgres.url(DATABASE),
            autocommit=True,
            application_name="soak",
            connect_timeout=5,
            options="-c default_transaction_read_only=off",
        )

    def log_in(self, personas: list[str]) -> None:
        """Let users log in, for the first time or again. Raises django.db.Error."""
        issued_at = connections.database_now()
        for persona, answer in self.sandbox.connect(personas).items():
            user = user_for_account(account_id=answer["account_id"], display_name=persona)
            connections.connect(
                user_id=user.pk,
                account_id=answer["account_id"],
                grant=grant_of(answer),
                issued_at=issued_at,
            )
            self.personas[user.pk] = persona
            self.revoked_at.pop(user.pk, None)

    def revoke(self, user_ids: list[int]) -> None:
        """Let users remove the app from their Spotify accounts, all at once."""
        self.sandbox.revoke(*(self.personas[user_id] for user_id in user_ids))
        self.revoked_at |= dict.fromkeys(user_ids, time.monotonic())

    def is_alive(self, token: SpotifyToken) -> bool:
        """Whether Spotify would take this refresh token."""
        stats = self.sandbox.stats(self.personas[token.pk])
        return bool(stats["refresh_token"] == digest_of(token.refresh_token or ""))

    def age_tokens(self, chance: random.Random) -> None:
        """Spread all due times, as in a service that has run for some time."""
        youngest_due = REFRESH_WINDOW[0] * self.config.lifetime
        for user_id in self.user_ids:
            age = timedelta(seconds=chance.uniform(0, youngest_due))
            SpotifyToken.objects.filter(pk=user_id).update(
                refreshed_at=F("refreshed_at") - age,
                expires_at=F("expires_at") - age,
                due_at=F("due_at") - age,
            )

    def kill_worker(self, worker: LocalProcess) -> int:
        """SIGKILL, having noted what it was exchanging; how many tokens that were.

        Frozen first, so that the note is true of the moment of its death.
        """
        worker.kill(SIGSTOP)
        try:
            lost = self._in_flight(worker)
        except BaseException:
            worker.kill(SIGCONT)
            raise
        worker.kill(SIGKILL)
        self._note_lost(lost, "in flight at a SIGKILL")
        return len(lost)

    def freeze(self, worker: LocalProcess, *, answered: Callable[[], None]) -> int:
        """SIGSTOP for longer than its locks last; how many answers nobody reads meanwhile.

        `answered` waits until Spotify has answered what the worker has asked. An exchange that
        Spotify did not carry out is none of them: its token must not be presented later.
        """
        worker.kill(SIGSTOP)
        self.frozen = worker
        in_flight = self._in_flight(worker)
        answered()
        lost = [token for token in in_flight if not self.is_alive(token)]
        self._note_lost(lost, "in flight at a freeze")
        return len(lost)

    def thaw(self) -> None:
        """SIGCONT for the worker that is frozen, if there is one."""
        if self.frozen:
            self.frozen.kill(SIGCONT)
            self.frozen = None

    def _note_lost(self, tokens: Iterable[SpotifyToken], how: str) -> None:
        for token in tokens:
            self.lost_in_flight[digest_of(token.refresh_token or "")] = LostExchange(
                user_id=token.pk, generation=token.generation, how=how
            )

    def _in_flight(self, worker: LocalProcess) -> list[SpotifyToken]:
        with self.session() as session:
            users = {row[0] for row in session.execute(_IN_FLIGHT, [worker.name])}
        users |= self._marked_by(pid_of(worker))
        return list(SpotifyToken.objects.filter(pk__in=users))

    def _marked_by(self, pid: int) -> set[int]:
        """Whose exchange lost its session, and with it the lock, but is still under way."""
        client = redis_client.client()
        marked = {}
        for key in client.scan_iter("spotify_auth:attempt:*"):
            mark = cast(bytes | None, client.get(key)) or b""
            if mark.endswith(f":{pid}".encode()):
                user_id, generation = key.decode().rsplit(":", 2)[1:]
                marked[int(user_id)] = int(generation)
        rows = SpotifyToken.objects.filter(pk__in=marked).values_list("pk", "generation")
        return {pk for pk, generation in rows if marked[pk] == generation}

    def deaths_are_settled(self) -> bool:
        """Whether every token that lost its answer has been asked about again since."""
        waiting = SpotifyToken.objects.filter(status="active", last_error="")
        return not any(
            waiting.filter(pk=lost.user_id, generation=lost.generation).exists()
            for lost in self.lost_in_flight.values()
        )


def pid_of(process: LocalProcess) -> int:
    """The process id behind pytest-celery's way of writing it."""
    return int(process.id.removeprefix("pid"))


def end_server(server: Server | None, number: Signals) -> None:
    """Send a server a signal, and wait until nothing of it is left."""
    if server is None:
        raise ValueError("this server was never started")
    process = psutil.Process(server.pid)
    family = [process, *process.children(recursive=True)]
    process.send_signal(number)
    _, left = psutil.wait_procs(family, timeout=30)
    if left:
        raise TimeoutError(f"{server.name} still runs after {number.name}")


@contextmanager
def assembled(
    config: Config, *, postgres: Postgres, redis: Redis, sandbox: Sandbox
) -> Iterator[Cluster]:
    """Start workers and beats, let all users log in, and end the processes at the end."""
    with ExitStack() as stack:
        workers = [
            worker_process(name, env=_environment(name), concurrency=config.lanes_per_worker)
            for name in (f"worker{n}" for n in range(config.workers))
        ]
        beats = [
            beat_process(f"beat{n}", env=_environment(f"beat{n}")) for n in range(config.beats)
        ]
        cluster = Cluster(
            config, postgres=postgres, redis=redis, sandbox=sandbox, workers=workers, beats=beats
        )
        stack.callback(teardown_together, cluster.processes)
        stack.callback(cluster.thaw)  # or SIGTERM would not reach it
        cluster.log_in([f"user-{n}" for n in range(config.users)])
        cluster.age_tokens(random.Random(config.seed))
        for process in cluster.processes:
            process.ready()
        yield cluster


def _environment(name: str) -> Mapping[str, str]:
    # PostgreSQL shows this name beside each of the process's sessions.
    return {**os.environ, "PGAPPNAME": name, "PYTHONUNBUFFERED": "1"}
