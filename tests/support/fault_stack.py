"""The whole service on servers of its own, each of which a test may kill and start again."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import environ
import psutil
import psycopg
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from dev.postgres import Postgres
from dev.process import free_port
from dev.redis import redis_server
from dev.testing import temporary_directory
from tests.support.commit_proxy import CommitProxy
from tests.support.processes import LocalProcess, beat_process, service_environment, worker_process
from tests.support.sandbox_client import Sandbox

PASSWORD = "the-tests"


class Stack:
    """PostgreSQL, Redis, a sandbox Spotify, one worker and one beat.

    The worker reaches PostgreSQL through `proxy`; Django's default connection of this
    process leads to the server itself.
    """

    def __init__(self, home: Path, *, lifetime: int, settings: Mapping[str, str]) -> None:
        self._cleanup = ExitStack()
        try:
            self._start(home, lifetime, settings)
        except BaseException:
            self._cleanup.close()
            raise

    def _start(self, home: Path, lifetime: int, settings: Mapping[str, str]) -> None:
        port = free_port()
        # Nothing of its durability is switched off: fsync is on.
        self.postgres = Postgres(home / "postgres", port=port, password=PASSWORD)
        self._cleanup.callback(self.postgres.stop)
        self.postgres.start()
        self.postgres.create_database("keeper")
        self._cleanup.enter_context(default_database(self.postgres.url("keeper")))
        call_command("migrate", verbosity=0)

        self._redis_home = home / "redis"
        self._redis_home.mkdir()
        self.redis_port = free_port()
        self.redis = LocalProcess(
            "redis",
            [
                *(redis_server(), "--port", str(self.redis_port), "--bind", "127.0.0.1"),
                *("--dir", str(self._redis_home), "--appendonly", "yes", "--save", ""),
            ],
            env={},
            ready_when="Ready to accept connections",
        )
        self._cleanup.callback(self.redis.teardown)
        self.redis.ready()

        self.proxy = CommitProxy(port)
        self._cleanup.callback(self.proxy.close)
        options = ["--redirect-uri", "http://127.0.0.1/spotify/callback/"]
        self.sandbox = Sandbox(access_token_lifetime=lifetime, options=options)
        self._cleanup.callback(self.sandbox.stop)
        redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        env = service_environment(spotify_url=self.sandbox.url, redis_url=redis_url, **settings)
        env["DATABASE_URL"] = env["DATABASE_URL"].replace(f":{port}/", f":{self.proxy.port}/")
        self.worker = worker_process("worker", env=env, concurrency=12)
        self._cleanup.callback(self.worker.teardown)
        self.beat = beat_process("beat", env=env)
        self._cleanup.callback(self.beat.teardown)
        for process in (self.worker, self.beat):
            process.ready()
        self._cleanup.enter_context(
            override_settings(
                REDIS_URL=redis_url,
                SPOTIFY_ACCOUNTS_URL=self.sandbox.url,
                SPOTIFY_API_URL=self.sandbox.url,
            )
        )

    def close(self) -> None:
        """End everything, the last started first."""
        self._cleanup.close()

    def kill_postgres(self) -> None:
        """SIGKILL for the postmaster and its children; none may notice the others' end."""
        assert self.postgres.server
        postmaster = psutil.Process(self.postgres.server.pid)
        postmaster.suspend()
        children = postmaster.children(recursive=True)
        for process in (*children, postmaster):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, timeout=10)
        self.postgres.stop()  # nothing is left to stop: it takes the exit status
        connection.close()

    def postgres_answers(self) -> bool:
        """Whether PostgreSQL takes connections."""
        try:
            psycopg.connect(self.postgres.url("keeper")).close()
        except psycopg.OperationalError:
            return False
        return True

    def forget_redis(self) -> None:
        """Remove the appendonly file of a Redis that was killed: it comes back empty."""
        shutil.rmtree(self._redis_home)
        self._redis_home.mkdir()


@contextmanager
def started_stack(*, lifetime: int, settings: Mapping[str, str]) -> Iterator[Stack]:
    """A running stack in a directory of its own."""
    home = Path(tempfile.mkdtemp(prefix="kills-", dir=temporary_directory()))
    home.chmod(0o755)  # root's PostgreSQL, which is another user, passes through it
    try:
        stack = Stack(home, lifetime=lifetime, settings=settings)
        try:
            yield stack
        finally:
            stack.close()
    finally:
        shutil.rmtree(home)


@contextmanager
def default_database(url: str) -> Iterator[None]:
    """Let the default connection lead to another server; the tests' own comes back after."""
    connection.close()
    settings = connection.settings_dict
    before = dict(settings)
    # What the tests' server needs beyond the address is needed here as well.
    settings.update(environ.Env.db_url_config(url))
    try:
        yield
    finally:
        connection.close()
        settings.clear()
        settings.update(before)
