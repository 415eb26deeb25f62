"""Failures of processes and servers: each kind is killed, cut or frozen, then restored.

A kind is a function of the cluster, a source of chance and a way to wait; it returns what
it did, in a few words. It leaves everything running again, since this is about what the
service does by itself once its operator has restarted what died.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM

import psycopg

from benchmarks.soak.cluster import Cluster, end_server
from dev.postgres import Postgres
from dev.redis import Redis
from tests.support.processes import LocalProcess

Wait = Callable[[float], None]
STOP_SECONDS = 60.0


class DidNotStop(AssertionError):
    """A worker that was told to stop went on."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a failure has to work with."""

    cluster: Cluster
    chance: random.Random
    wait: Wait
    """Lets seconds pass while the monitor continues."""

    def moment(self, shortest: float, longest: float) -> float:
        """A random length in seconds, at the pace of the config."""
        return self.chance.uniform(shortest, longest) * self.cluster.config.pace

    def victim(self) -> LocalProcess:
        """A worker that may die. The first may not: its memory is watched to the end."""
        return self.chance.choice(self.cluster.workers[1:])


def kill_worker(scene: Scene) -> str:
    """The process dies with whatever it holds."""
    worker = scene.victim()
    lost = scene.cluster.kill_worker(worker)
    scene.wait(scene.moment(0, 4))
    worker.start()
    return f"{worker.name}, {lost} exchanges in flight"


def restart_worker(scene: Scene) -> str:
    """SIGTERM: it must finish what it holds, and end."""
    worker = scene.victim()
    worker.kill(SIGTERM)
    waited = 0.0
    while worker.status != "exited":
        if waited > STOP_SECONDS:
            raise DidNotStop(worker.name)
        scene.wait(0.2)
        waited += 0.2
    worker.start()
    return f"{worker.name}, ended after {waited:.0f} s"


def freeze_worker(scene: Scene) -> str:
    """A process that hangs, as on a machine that swaps: sometimes beyond the deadline."""
    worker = scene.chance.choice(scene.cluster.workers)
    seconds = scene.moment(2, 12)
    worker.kill(SIGSTOP)
    try:
        scene.wait(seconds)
    finally:
        worker.kill(SIGCONT)
    return f"{worker.name} for {seconds:.1f} s"


def kill_beat(scene: Scene) -> str:
    """One beat of several dies."""
    beat = scene.chance.choice(scene.cluster.beats)
    beat.kill(SIGKILL)
    scene.wait(scene.moment(1, 5))
    beat.start()
    return beat.name


def kill_redis(scene: Scene) -> str:
    """The broker dies and comes back empty: it keeps nothing on disk."""
    return _die(scene, scene.cluster.redis)


def kill_postgres(scene: Scene) -> str:
    """The postmaster dies; PostgreSQL recovers from its log at the next start."""
    return _die(scene, scene.cluster.postgres)


def _die(scene: Scene, server: Redis | Postgres) -> str:
    end_server(server.server, SIGKILL)
    seconds = scene.moment(0, 3)
    scene.wait(seconds)
    server.start()
    return f"away for {seconds:.1f} s"


def restart_postgres_at_once(scene: Scene) -> str:
    """An immediate shutdown: sessions are cut without a word."""
    end_server(scene.cluster.postgres.server, SIGQUIT)
    scene.cluster.postgres.start()
    return ""


def cut_sessions(scene: Scene) -> str:
    """A pooler's restart or a fail-over, as a worker sees it."""
    with scene.cluster.session() as session:
        cut = session.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    return f"{cut[0] if cut else 0} sessions"


def make_read_only(scene: Scene) -> str:
    """A standby, or a full disk: nothing can be written for some seconds."""
    seconds = scene.moment(1, 5)
    with scene.cluster.session() as session:
        session.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        session.execute("SELECT pg_reload_conf()")
        try:
            scene.wait(seconds)
        finally:
            _make_writable(session)
    return f"for {seconds:.1f} s"


def _make_writable(session: psycopg.Connection) -> None:
    session.execute("ALTER SYSTEM RESET default_transaction_read_only")
    session.execute("SELECT pg_reload_conf()")


PROCESS_KINDS: Mapping[str, Callable[[Scene], str]] = {
    "worker SIGKILL": kill_worker,
    "worker SIGTERM": restart_worker,
    "worker frozen": freeze_worker,
    "beat SIGKILL": kill_beat,
    "Redis SIGKILL": kill_redis,
    "PostgreSQL SIGKILL": kill_postgres,
    "PostgreSQL immediate restart": restart_postgres_at_once,
    "all sessions cut": cut_sessions,
    "PostgreSQL read-only": make_read_only,
}
LOSES_HINTS = frozenset({"Redis SIGKILL"})
LOSES_SESSIONS = frozenset(
    {"worker SIGKILL", "PostgreSQL SIGKILL", "PostgreSQL immediate restart", "all sessions cut"}
)
