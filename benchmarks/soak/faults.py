"""Failures of processes and servers: each kind is killed, cut or frozen, then restored.

A kind is a function of the cluster, a source of chance and a way to wait; it returns what
it did, in a few words. It leaves everything running again, since this is about what the
service does by itself once its operator has restarted what died.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from signal import SIGCONT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM

import psycopg
from django.db.models import F

from benchmarks.soak.cluster import Cluster, end_server
from dev.postgres import Postgres
from dev.redis import Redis
from spotify_auth import chores
from spotify_auth.freshness import MISSED_INTERVALS
from spotify_auth.models import Chore, SpotifyToken
from tests.support.processes import LocalProcess

_SESSIONS_OF_WORKERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'worker%'
"""

Wait = Callable[[float], None]
STOP_SECONDS = 60.0
ANSWERED_SECONDS = 2.0
"""After this Spotify has answered what was asked before, when none of its faults is in force."""
WRONG_CLOCK_SHARE = 0.05
REVOKED_SHARE = 0.1


class DidNotStop(AssertionError):
    """A worker that was told to stop went on."""


class DidNotSweep(AssertionError):
    """No worker swept while beat was away."""


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
        alive = [one for one in self.cluster.workers[1:] if one is not self.cluster.frozen]
        return self.chance.choice(alive or self.cluster.workers[1:])

    def some_users(self, share: float) -> list[int]:
        """Users at random: not the odd ones, and none that was revoked already."""
        cluster = self.cluster
        left = {*cluster.user_ids} - {*cluster.odd_user_ids} - {*cluster.revoked_at}
        return self.chance.sample(sorted(left), max(1, int(share * cluster.config.users)))


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
    worker = scene.victim()
    seconds = scene.moment(2, 12)
    worker.kill(SIGSTOP)
    try:
        scene.wait(seconds)
    finally:
        worker.kill(SIGCONT)
    return f"{worker.name} for {seconds:.1f} s"


def freeze_worker_for_long(scene: Scene) -> str:
    """A suspended host: the locks are lost, and others refresh what it held.

    Whoever called thaws it later: the other failures go on meanwhile.
    """
    worker = scene.victim()
    lost = scene.cluster.freeze(worker, answered=lambda: scene.wait(ANSWERED_SECONDS))
    return f"{worker.name}, {lost} answers that nobody reads"


def kill_beat(scene: Scene) -> str:
    """One beat of several dies."""
    beat = scene.chance.choice(scene.cluster.beats)
    beat.kill(SIGKILL)
    scene.wait(scene.moment(1, 5))
    beat.start()
    return beat.name


def lose_beats(scene: Scene) -> str:
    """No beat for several intervals: the workers must sweep by themselves."""
    config, before = scene.cluster.config, _own_sweeps()
    for beat in scene.cluster.beats:
        beat.kill(SIGKILL)
    seconds = (MISSED_INTERVALS + scene.chance.uniform(3, 6)) * config.sweep
    scene.wait(seconds)
    swept = _own_sweeps() - before
    for beat in scene.cluster.beats:
        beat.start()
    if not swept:
        raise DidNotSweep(f"in {seconds:.1f} s without a beat")
    return f"for {seconds:.1f} s, {swept} sweeps by workers"


def _own_sweeps() -> int:
    return sum(Chore.objects.filter(name=chores.OWN_SWEEP).values_list("times", flat=True))


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
        return f"{_cut_sessions(session)} sessions"


def _cut_sessions(session: psycopg.Connection) -> int:
    cut = session.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchone()
    return int(cut[0]) if cut else 0


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


def demote(scene: Scene) -> str:
    """A failover: sessions that were opened meanwhile stay on a server that takes no writes.

    New ones reach the new primary. The service must leave the others by itself.
    """
    seconds = scene.moment(1, 5)
    with scene.cluster.session() as session:
        session.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
        cut = _cut_sessions(session)
        try:
            scene.wait(seconds)
        finally:
            session.execute("ALTER ROLE CURRENT_USER RESET default_transaction_read_only")
        left = session.execute(_SESSIONS_OF_WORKERS).fetchone()
    return f"for {seconds:.1f} s, {cut} sessions cut, {left[0] if left else 0} left behind"


def set_clock_back(scene: Scene) -> str:
    """PostgreSQL's clock was ahead for a day, and has come back: its times lie ahead.

    The access tokens that the rows call fresh have expired. A page that meets it must be enough.
    """
    users = scene.some_users(WRONG_CLOCK_SHARE)
    a_day = timedelta(days=1)
    changed = SpotifyToken.objects.filter(pk__in=users, status="active").update(
        refreshed_at=F("refreshed_at") + a_day,
        expires_at=F("expires_at") + a_day,
        due_at=F("due_at") + a_day,
    )
    Chore.objects.update(done_at=F("done_at") + a_day)
    scene.cluster.sandbox.expire_access_tokens(*(scene.cluster.personas[one] for one in users))
    return f"{changed} tokens and all chores of a day ahead"


def revoke_many(scene: Scene) -> str:
    """A mass of true refusals: they must be told, and nobody else may notice."""
    users = scene.some_users(REVOKED_SHARE)
    scene.cluster.revoke(users)
    return f"{len(users)} users"


def _make_writable(session: psycopg.Connection) -> None:
    session.execute("ALTER SYSTEM RESET default_transaction_read_only")
    session.execute("SELECT pg_reload_conf()")


FROZEN_BEYOND_LOCK = ("worker frozen beyond its lock", "worker frozen for twice as long")
"""As long as `Config.freezes` says."""

PROCESS_KINDS: Mapping[str, Callable[[Scene], str]] = {
    "worker SIGKILL": kill_worker,
    "worker SIGTERM": restart_worker,
    "worker frozen": freeze_worker,
    **dict.fromkeys(FROZEN_BEYOND_LOCK, freeze_worker_for_long),
    "beat SIGKILL": kill_beat,
    "all beats lost": lose_beats,
    "Redis SIGKILL": kill_redis,
    "PostgreSQL SIGKILL": kill_postgres,
    "PostgreSQL immediate restart": restart_postgres_at_once,
    "all sessions cut": cut_sessions,
    "PostgreSQL read-only": make_read_only,
    "sessions left on a demoted server": demote,
    "the clock was ahead": set_clock_back,
    "a tenth revoked": revoke_many,
}
LOSES_HINTS = frozenset({"Redis SIGKILL"})
LOSES_SESSIONS = frozenset(
    {
        "worker SIGKILL",
        "PostgreSQL SIGKILL",
        "PostgreSQL immediate restart",
        "all sessions cut",
        "sessions left on a demoted server",
        *FROZEN_BEYOND_LOCK,
    }
)
"""Also of a lane that is frozen for too long. The hints in Redis stand in for the lock then."""
