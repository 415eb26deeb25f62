"""A contestant's site as real processes: gunicorn, and for this service worker and beat."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.peers.contestants import Contestant
from dev.process import ROOT, free_port
from tests.support.processes import LocalProcess, beat_process, teardown_together, worker_process
from tests.support.sandbox_client import Sandbox

WEB_PROCESSES, WEB_THREADS = 2, 8
WORKER_THREADS = 16

# Only read by this service. The margin is 3.4 s: 3 sweeps and 2 deadlines fit into it.
_KEEPER_SETTINGS = {
    "ACCESS_TOKEN_MINIMUM_SECONDS": "1",
    "REFRESH_SWEEP_SECONDS": "0.2",
    "TOKEN_ENDPOINT_DEADLINE_SECONDS": "1.3",
}


class Site:
    """One contestant on its own database, and the sandbox that is its Spotify."""

    def __init__(self, contestant: Contestant, *, python: Path, sandbox: Sandbox) -> None:
        """`python` is the peers' environment; this service runs in its own."""
        self._contestant = contestant
        self._python = sys.executable if contestant.in_background else str(python)
        self._env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": _new_database(f"peers_{contestant.module.rpartition('.')[2]}"),
            "SPOTIFY_ACCOUNTS_URL": sandbox.url,
            "SPOTIFY_API_URL": sandbox.url,
            "SPOTIFY_CLIENT_ID": sandbox.client_id,
            "SPOTIFY_CLIENT_SECRET": sandbox.client_secret,
            "OAUTHLIB_INSECURE_TRANSPORT": "1",  # the sandbox speaks plain http
            "CONTESTANT_MODULE": contestant.module,
            "CONTESTANT_APPS": " ".join(contestant.apps),
            "ACCESS_TOKEN_LIFETIME_SECONDS": str(contestant.lifetime),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "WEB_CONCURRENCY": str(WEB_PROCESSES),
            "WEB_THREADS": str(WEB_THREADS),
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings",
        }
        if contestant.in_background:
            self._env |= _KEEPER_SETTINGS
            self._env["DJANGO_SETTINGS_MODULE"] = "benchmarks.peers.keeper_settings"
        self.url = f"http://127.0.0.1:{self._env['PORT']}/"

    def people(self, command: str, argument: object) -> dict[str, Any]:
        """Run one command of `people.py` in the contestant's environment; its answer."""
        done = subprocess.run(
            [self._python, "-m", "benchmarks.peers.people", command, json.dumps(argument)],
            env={**self._env, "LOG_LEVEL": "WARNING"},
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the end of the block."""
        with ExitStack() as stack:
            processes: list[LocalProcess] = []
            stack.callback(teardown_together, processes)
            processes.append(
                LocalProcess(
                    "web",
                    [
                        *(self._python, "-m", "gunicorn", "config.wsgi"),
                        *("--config", "config/gunicorn.py"),
                    ],
                    env=self._env,
                    ready_when="Booting worker",
                )
            )
            if self._contestant.in_background:
                processes.append(
                    worker_process("worker", env=self._env, concurrency=WORKER_THREADS)
                )
                processes.append(beat_process("beat", env=self._env))
            for process in processes:
                process.ready()
            yield


def _new_database(name: str) -> str:
    """Make an empty database on the bench's PostgreSQL; its address."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        identifier = sql.Identifier(name)
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
        server.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    return urlsplit(url)._replace(path=f"/{name}").geturl()
