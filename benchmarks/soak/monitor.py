"""The monitor: samples while the soak runs; who had to log in again, who waited, and why."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import psutil
import psycopg
from django.db import Error
from django.db import connection as database
from django.db.models import Q
from django.db.models.functions import Now

from benchmarks.soak.cluster import Cluster, pid_of
from benchmarks.soak.sandbox_faults import MAY_PAUSE
from spotify_auth import cooldown
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import SpotifyToken
from spotify_auth.sandbox.state import digest_of

EVERY_SECONDS = 2.0
REVOKED = "revoked at Spotify"
PAUSE_EXPLAINED_SECONDS = 2 * cooldown.CLIENT_REFUSED_SECONDS
OUR_OWN = {
    FailureCode.UNDECRYPTABLE,
    FailureCode.UNFORESEEN,
    FailureCode.UNSTORABLE,
    FailureCode.SAVED_GRANT_UNREADABLE,
}
"""Failures that are none of Spotify's."""

_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()
"""
_BRING_APPEAL_FORWARD = """
UPDATE spotify_auth_spotifytoken SET appeal_at = now() + (appeal_at - now()) * %s
WHERE user_id = %s AND status = 'reconnect_required'
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForcedLogin:
    """Somebody who must log in again. `seconds` after the start of the soak."""

    seconds: float
    user_id: int
    reason: str
    excuse: str
    """How the answer was lost, or that the user left; nothing if it was our doing."""


@dataclass(kw_only=True, slots=True)
class WrongVerdict:
    """Somebody who was asked to reconnect while Spotify would have taken their token."""

    user_id: int
    reason: str
    since: float
    """Seconds after the start of the soak."""
    until: float | None = None
    """When an appeal had mended it."""


class Monitor:
    """Takes a sample every two seconds, whenever `look` is called."""

    def __init__(self, cluster: Cluster) -> None:
        self.memory: dict[int, list[tuple[float, int]]] = {}
        """Resident bytes by process id, each with the seconds since the start."""
        self.names: dict[int, str] = {}
        self.connections: list[tuple[float, int]] = []
        self.forced_logins: list[ForcedLogin] = []
        self.wrong_verdicts: list[WrongVerdict] = []
        self.told_after: list[float] = []
        """Seconds from a revocation at Spotify to *Reconnect now* on the page, one a user."""
        self.judged_after: list[float] = []
        """The same to the verdict."""
        self.stale: Counter[str] = Counter()
        """Stale tokens seen, by what explains them."""
        self.healthy_stale: dict[int, str] = {}
        """Users whose token was stale although Spotify would have served them."""
        self.pauses_of_nobody: set[str] = set()
        """Pauses of all that no fault of everybody explains."""
        self._cluster = cluster
        self._told: set[int] = set()
        self._appealed: set[tuple[int, int]] = set()
        self._may_pause: dict[str, float] = {}
        self._paused_until = float("-inf")
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
        self._look_for_pauses()
        try:
            self._look_at_the_revoked()
            self._look_at_verdicts()
            self._look_for_stale_tokens()
        except Error:
            database.close()

    def may_pause(self, reason: str) -> None:
        """Spotify is about to do what all may pause for, for this reason."""
        self._may_pause[reason] = self.seconds

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

    def _look_for_pauses(self) -> None:
        reason = cooldown.reason()
        if reason in MAY_PAUSE.values():
            # As long as the longest pause, and as what is half-open after it.
            explained = self._may_pause.get(reason, float("-inf")) + PAUSE_EXPLAINED_SECONDS
            if self.seconds < explained:
                self._paused_until = self.seconds + self._cluster.config.longest_exchange
            else:
                self.pauses_of_nobody.add(reason)

    def _look_at_the_revoked(self) -> None:
        """Whether their pages show a button by now."""
        now = time.monotonic()
        refused = SpotifyToken.objects.filter(
            Q(status=SpotifyToken.Status.RECONNECT_REQUIRED)
            | Q(suspected_at__isnull=False, expires_at__lte=Now()),
            pk__in=self._cluster.revoked_at.keys() - self._told,
        )
        for user_id in refused.values_list("pk", flat=True):
            self._told.add(user_id)
            self.told_after.append(now - self._cluster.revoked_at[user_id])

    def _look_at_verdicts(self) -> None:
        """Whoever must logs in again, as a user would; who need not waits for the appeal."""
        wrong = {one.user_id: one for one in self.wrong_verdicts if one.until is None}
        refused = SpotifyToken.objects.filter(status=SpotifyToken.Status.RECONNECT_REQUIRED)
        for token in refused:
            excuse = self._excuse(token)
            if not excuse and self._cluster.is_alive(token):
                if token.pk not in wrong:
                    found = WrongVerdict(
                        user_id=token.pk, reason=token.last_error, since=self.seconds
                    )
                    self.wrong_verdicts.append(found)
                wrong.pop(token.pk, None)
                self._shorten_appeal(token)
            else:
                self._log_in_again(token, excuse)
        for one in wrong.values():
            one.until = self.seconds

    def _shorten_appeal(self, token: SpotifyToken) -> None:
        """An hour of a real token's becomes as much as the tokens of the soak live."""
        appeal = token.pk, token.failures
        if appeal not in self._appealed:
            self._appealed.add(appeal)
            with database.cursor() as cursor:
                cursor.execute(_BRING_APPEAL_FORWARD, [self._cluster.config.scaled(1), token.pk])

    def _log_in_again(self, token: SpotifyToken, excuse: str) -> None:
        found = ForcedLogin(
            seconds=self.seconds, user_id=token.pk, reason=token.last_error, excuse=excuse
        )
        revoked_at, now = self._cluster.revoked_at.get(token.pk), time.monotonic()
        self._cluster.log_in([self._cluster.personas[token.pk]])
        self.forced_logins.append(found)
        self._told.discard(token.pk)
        if revoked_at is not None:
            self.judged_after.append(now - revoked_at)

    def _excuse(self, token: SpotifyToken) -> str:
        digest = digest_of(token.refresh_token or "")
        if token.pk in self._cluster.revoked_at:
            return REVOKED
        if digest in self._cluster.lost_in_flight:
            return self._cluster.lost_in_flight[digest].how
        if digest in self._cluster.sandbox.stats()["answers_spoiled"]:
            return "cut by the sandbox"
        return ""

    def _look_for_stale_tokens(self) -> None:
        minimum = timedelta(seconds=self._cluster.config.minimum)
        stale = SpotifyToken.objects.filter(
            status=SpotifyToken.Status.ACTIVE, expires_at__lte=Now() + minimum
        )
        odd = set(self._cluster.odd_user_ids)
        for token in stale:
            if token.pk in odd:
                why = "odd row"
            elif token.pk in self._cluster.revoked_at:
                why = REVOKED
            elif token.last_error and token.last_error not in OUR_OWN:
                why = "Spotify failed to serve it"
            elif self.seconds < self._paused_until:
                why = "Spotify let all pause"
            else:
                why = "healthy"
                self.healthy_stale.setdefault(
                    token.pk,
                    f"at {self.seconds:.0f} s, generation {token.generation}, "
                    f"{token.failures} failures, {token.last_error or 'no error'}",
                )
            self.stale[why] += 1


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
