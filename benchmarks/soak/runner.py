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
from benchmarks.soak.faults import (
    FROZEN_BEYOND_LOCK,
    LOSES_HINTS,
    LOSES_SESSIONS,
    PROCESS_KINDS,
    Scene,
)
from benchmarks.soak.monitor import Monitor
from benchmarks.soak.sandbox_faults import MAY_PAUSE, REFUSES_FALSELY, SANDBOX_KINDS, odd_rows
from spotify_auth import pace
from spotify_auth.models import SpotifyToken

FIRST = [
    *("a tenth revoked", FROZEN_BEYOND_LOCK[1], "invalid_grant to 90 %", "the clock was ahead"),
    *("all beats lost", "sessions left on a demoted server", "invalid_grant to 50 %"),
    *(FROZEN_BEYOND_LOCK[0], "invalid_grant to 10 %"),
]
"""What takes time to be judged. Such kinds come once in each deck, and these before all others,
so that a soak of five minutes has them all."""
KILLS = [kind for kind in PROCESS_KINDS if kind not in FIRST]
# Kills are what this is about: they come twice as often as each of Spotify's faults.
DECK = [*KILLS, *KILLS, *SANDBOX_KINDS, *(kind for kind in FIRST if kind in PROCESS_KINDS)]

ONCE_THROUGH = [
    *("a tenth revoked", "access tokens expire early", "held after", "worker SIGKILL", "latency"),
    *("worker frozen", "the clock was ahead", "answer lost", "beat SIGKILL", "all beats lost"),
    *("slow drip of a new pair", "the other world", "latency after rotating", "worker SIGTERM"),
    *("connection reset", FROZEN_BEYOND_LOCK[0], "garbage", "429", "5xx"),
    *("old access token dies", "slow drip", "reuse revokes the grant"),
    *("invalid_grant to 10 %", "invalid_grant to 50 %", "invalid_grant to 90 %"),
    *("invalid_grant to all", "invalid_client", "Web API error", "Web API latency"),
    # The minute's pause after a refused client is lost with Redis.
    *("Redis SIGKILL", "grace window", "PostgreSQL read-only", "held before"),
    *("all sessions cut", "sessions left on a demoted server", "PostgreSQL SIGKILL"),
    "PostgreSQL immediate restart",
]
"""For the short form. Redis is lost far from those who need its hints."""


class Runner:
    """Injects the faults. A fault of the sandbox stays in force while the next kill comes."""

    def __init__(self, cluster: Cluster, monitor: Monitor) -> None:
        self.injected: Counter[str] = Counter()
        self._cluster = cluster
        self._monitor = monitor
        self._scene = Scene(cluster, random.Random(cluster.config.seed), self.wait)
        self._sandbox_until: float | None = None
        self._undisturbed_until = self._thaw_at = float("-inf")
        self._refused_falsely_at = float("-inf")
        self._hints_lost_at = self._sessions_lost_at = float("-inf")

    def run(self) -> None:
        """Mischief until the time is over, or once through."""
        seconds = self._cluster.config.seconds
        self._be_ordinary()
        self.wait(self._cluster.config.sweep * 3)
        kinds = self._without_end() if seconds else self._once_through()
        for kind in kinds:
            if seconds and self._monitor.seconds >= seconds:
                break
            self._commit(kind)
            self.wait(self._scene.moment(1, 6))
        self._end_all()

    def _end_all(self) -> None:
        """No fault from here on, and no wait of those who had one all the while."""
        self.wait(self._thaw_at - time.monotonic())
        self._cluster.sandbox.clear()
        self._sandbox_until = None
        self._answer_slowly()
        # A 429 of the beginning tells of half a window, and a pace rises over an hour: these tokens
        # live for seconds.
        pace.forget()
        # They back off for up to five minutes.
        SpotifyToken.objects.filter(pk__in=self._cluster.odd_user_ids).update(due_at=Now())

    def settle(self, *, most_seconds: float) -> bool:
        """Leave everything in peace until all is well; False if that takes too long.

        Well is: every token is fresh and none is backing off, suspected or refused, or dates
        from a time to come; and who was revoked has been told, and has logged in.
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
            if self._cluster.frozen and time.monotonic() >= self._thaw_at:
                self._cluster.thaw()
                self._sessions_lost_at = time.monotonic()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))

    def _without_end(self) -> Iterator[str]:
        """Deck after deck, shuffled; what must not come yet waits until it may."""
        waiting = [*FIRST]
        while True:
            kind = next(filter(self._may_come, waiting), None)
            if kind is None:
                waiting += self._scene.chance.sample(DECK, len(DECK))
            else:
                waiting.remove(kind)
                yield kind

    def _once_through(self) -> Iterator[str]:
        """Each kind once, in a fixed order, and each as long as it takes."""
        for kind in ONCE_THROUGH:
            while (kind in SANDBOX_KINDS and time.monotonic() < self._undisturbed_until) or (
                kind in PROCESS_KINDS and self._cluster.frozen
            ):
                self.wait(0.1)
            yield kind

    def _may_come(self, kind: str) -> bool:
        """One failure at a time where the service needs one of the two to survive.

        The hints in Redis stand in for a session that is cut in an exchange. So Redis is
        not lost within one longest exchange of a cut, nor while a token whose worker
        died or is frozen still waits to be asked about.

        False refusals are not so long, nor so soon after others, that the service must
        believe them.
        """
        now, longest = time.monotonic(), self._cluster.config.longest_exchange
        if now < self._undisturbed_until and kind in {*SANDBOX_KINDS, *FROZEN_BEYOND_LOCK}:
            return False
        if kind in REFUSES_FALSELY:
            return now - self._refused_falsely_at > self._cluster.config.held
        if kind in FROZEN_BEYOND_LOCK and self._cluster.frozen:
            return False
        if kind in LOSES_SESSIONS:
            return now - self._hints_lost_at > longest
        if kind in LOSES_HINTS:
            return (
                not self._cluster.frozen
                and now - self._sessions_lost_at > longest
                and self._cluster.deaths_are_settled()
            )
        return True

    def _commit(self, kind: str) -> None:
        started = self._monitor.seconds
        if kind in FROZEN_BEYOND_LOCK:
            self._clear_sandbox()  # so that it is known what Spotify has carried out
            self._thaw_at = time.monotonic() + self._seconds_frozen(kind)
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

    def _seconds_frozen(self, kind: str) -> float:
        return self._cluster.config.freezes[FROZEN_BEYOND_LOCK.index(kind)]

    def _program(self, kind: str) -> str:
        self._cluster.sandbox.clear()
        fault = SANDBOX_KINDS[kind](self._scene)
        for name, parameters in fault.programs:
            self._cluster.sandbox.faults(name, **parameters)
        self._be_ordinary()
        self._sandbox_until = time.monotonic() + fault.seconds
        if fault.undisturbed:
            self._undisturbed_until = self._sandbox_until
        if kind in REFUSES_FALSELY:
            self._refused_falsely_at = self._sandbox_until
        if reason := MAY_PAUSE.get(kind):
            self._monitor.may_pause(reason)
        return f"{fault.words} {fault.seconds:.1f} s".strip()

    def _clear_sandbox(self) -> None:
        if self._sandbox_until is not None:
            self._cluster.sandbox.clear()
            self._be_ordinary()
            self._sandbox_until = None

    def _be_ordinary(self) -> None:
        """Programmed last: of two faults with one name, the sandbox takes the first."""
        for name, parameters in odd_rows(self._cluster.odd_personas):
            self._cluster.sandbox.faults(name, **parameters)
        self._answer_slowly()

    def _answer_slowly(self) -> None:
        self._cluster.sandbox.faults(
            "latency_after_rotating", seconds=self._cluster.config.spotify_seconds
        )

    def _all_is_well(self) -> bool:
        tokens = SpotifyToken.objects.all()
        fresh = tokens.filter(
            status=SpotifyToken.Status.ACTIVE,
            suspected_at=None,
            last_error="",
            expires_at__gt=Now() + timedelta(seconds=self._cluster.config.minimum),
            refreshed_at__lte=Now(),
        )
        try:
            return (
                not self._cluster.revoked_at
                and fresh.count() == tokens.count()
                and self._cluster.deaths_are_settled()
            )
        except Error:
            database.close()
            return False
