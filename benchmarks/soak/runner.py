"""The runner: decides by a seed what goes wrong next, lets time pass, and ends it all."""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from django.db import Error
from django.db import connection as database
from django.db.models.functions import Now

from benchmarks.soak.cluster import Cluster
from benchmarks.soak.faults import LOSES_HINTS, LOSES_SESSIONS, PROCESS_KINDS, Scene
from benchmarks.soak.monitor import Monitor
from benchmarks.soak.sandbox_faults import SANDBOX_KINDS
from spotify_auth.models import SpotifyToken

# Kills are what this is about: they come twice as often as each of Spotify's faults.
DECK = [*PROCESS_KINDS, *PROCESS_KINDS, *SANDBOX_KINDS]

ONCE_THROUGH = [
    *("access tokens expire early", "held after", "worker SIGKILL", "latency", "worker frozen"),
    *("answer lost", "beat SIGKILL", "slow drip of a new pair", "the other world"),
    *("latency after rotating", "worker SIGTERM", "connection reset", "garbage"),
    *("429", "5xx", "old access token dies", "slow drip", "reuse revokes the grant"),
    *("invalid_grant to all", "invalid_client", "Web API error", "Web API latency"),
    # The minute's pause after a refused client is lost with Redis.
    *("Redis SIGKILL", "grace window", "PostgreSQL read-only", "held before"),
    *("all sessions cut", "PostgreSQL SIGKILL", "PostgreSQL immediate restart"),
]
"""For the short form. Redis is lost far from those who need its hints."""


SPOTIFY_SECONDS = 0.2
"""The usual duration of an answer: so a kill meets exchanges in flight."""


class Runner:
    """Injects the faults. A fault of the sandbox stays in force while the next kill comes."""

    def __init__(self, cluster: Cluster, monitor: Monitor) -> None:
        self.injected: Counter[str] = Counter()
        self._cluster = cluster
        self._monitor = monitor
        self._scene = Scene(cluster, random.Random(cluster.config.seed), self.wait)
        self._sandbox_until: float | None = None
        self._hints_lost_at = self._sessions_lost_at = float("-inf")

    def run(self) -> None:
        """Mischief until the time is over, or once through."""
        seconds = self._cluster.config.seconds
        self._be_ordinary()
        self.wait(self._cluster.config.sweep * 3)
        kinds = self._without_end() if seconds else iter(ONCE_THROUGH)
        for kind in kinds:
            if seconds and self._monitor.seconds >= seconds:
                break
            self._commit(kind)
            self.wait(self._scene.moment(1, 6))
        self._clear_sandbox()

    def settle(self, *, most_seconds: float) -> bool:
        """Leave everything in peace until all is well; False if that takes too long.

        Well is: every token is fresh and none is backing off, suspected or refused.
        """
        give_up = time.monotonic() + most_seconds
        while not self._all_is_well():
            if time.monotonic() > give_up:
                return False
            self.wait(0.5)
        return True

    def wait(self, seconds: float) -> None:
        """Let time pass, looking around meanwhile; end Spotify's fault when its time is over."""
        until = time.monotonic() + seconds
        while True:
            self._monitor.look()
            if self._sandbox_until is not None and time.monotonic() >= self._sandbox_until:
                self._clear_sandbox()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))

    def _without_end(self) -> Iterator[str]:
        """Deck after deck, shuffled; what must not come yet is put off to the next place."""
        put_off: list[str] = []
        while True:
            deck = put_off + self._scene.chance.sample(DECK, len(DECK))
            put_off = []
            for kind in deck:
                if self._may_come(kind):
                    yield kind
                else:
                    put_off.append(kind)

    def _may_come(self, kind: str) -> bool:
        """One failure at a time where the service needs one of the two to survive.

        The hints in Redis stand in for a session that is cut in an exchange. So Redis is
        not lost within one longest exchange of a cut, nor while a token whose worker
        died still waits to be asked about.
        """
        now, longest = time.monotonic(), self._cluster.config.longest_exchange
        if kind in LOSES_SESSIONS:
            return now - self._hints_lost_at > longest
        if kind in LOSES_HINTS:
            return now - self._sessions_lost_at > longest and self._cluster.deaths_are_settled()
        return True

    def _commit(self, kind: str) -> None:
        started = self._monitor.seconds
        if kind in PROCESS_KINDS:
            did = PROCESS_KINDS[kind](self._scene)
            if kind in LOSES_HINTS:
                self._hints_lost_at = time.monotonic()
            elif kind in LOSES_SESSIONS:
                self._sessions_lost_at = time.monotonic()
        else:
            did = self._program(kind)
        database.close()  # our own session may have been cut as well
        self.injected[kind] += 1
        print(f"{started:7.1f} s  {kind}{did and ': ' + did}", file=sys.stderr, flush=True)

    def _program(self, kind: str) -> str:
        self._cluster.sandbox.clear()
        fault = SANDBOX_KINDS[kind](self._scene)
        for name, parameters in fault.programs:
            self._cluster.sandbox.faults(name, **parameters)
        self._be_ordinary()
        self._sandbox_until = time.monotonic() + fault.seconds
        return f"{fault.words} {fault.seconds:.1f} s".strip()

    def _clear_sandbox(self) -> None:
        if self._sandbox_until is not None:
            self._cluster.sandbox.clear()
            self._be_ordinary()
            self._sandbox_until = None

    def _be_ordinary(self) -> None:
        """Programmed last: of two faults with one name, the sandbox takes the first."""
        self._cluster.sandbox.faults("latency_after_rotating", seconds=SPOTIFY_SECONDS)

    def _all_is_well(self) -> bool:
        tokens = SpotifyToken.objects.all()
        fresh = tokens.filter(
            status=SpotifyToken.Status.ACTIVE,
            suspected_at=None,
            last_error="",
            expires_at__gt=Now() + timedelta(seconds=self._cluster.config.minimum),
        )
        try:
            return fresh.count() == tokens.count() and self._cluster.deaths_are_settled()
        except Error:
            database.close()
            return False
