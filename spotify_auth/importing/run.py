"""One import: a rehearsal that changes nothing, or all of it, the first five first."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from spotify_auth.connections import database_now
from spotify_auth.importing import canary, spreading
from spotify_auth.importing.candidates import Candidate, Emptied, Found, Problem
from spotify_auth.importing.moving import End, forecast, move
from spotify_auth.importing.report import Report
from spotify_auth.importing.source import Source
from spotify_auth.models import UserId

AT_ONCE = 200


class Import:
    """One run over a source, until it is done or `stopping` is set. It may be run again."""

    def __init__(
        self,
        source: Source,
        report: Report,
        *,
        spread: timedelta,
        stopping: threading.Event,
        progress: Callable[[int], None],
        say: Callable[[str], None],
    ) -> None:
        self._source, self._report = source, report
        self._spread, self._stopping = spread, stopping
        self._progress, self._say = progress, say
        self._tried: dict[UserId, int] = {}

    def rehearse(self) -> None:
        """Look at everything, and change nothing. Raises django.db.Error."""
        for some in _batches(self._found()):
            now = database_now()
            for found, moved in forecast(some):
                if moved.end is End.MOVED:
                    self._saw(found, now=now)
                else:
                    self._report.count(moved.end, found, moved.reason)
            self._progress(len(some))

    def apply(self) -> None:
        """Move everything.

        Raises Refused when the first five are not refreshed, django.db.Error, redis.RedisError.
        """
        self._began, self._began_here = database_now(), time.monotonic()
        standing = canary.standing()
        self._tried = dict(standing.waiting)
        missing = standing.missing
        is_tried = standing.refreshed >= canary.SIZE
        self._report.refreshed = standing.refreshed
        for number, found in enumerate(self._found()):
            if not is_tried and not missing:
                self._try()
                is_tried = True
            if self._stopping.is_set():
                break
            if number % AT_ONCE == 0:
                canary.refuse_while_client_is_refused()
            moved = self._move(found, is_canary=not is_tried)
            if moved and not is_tried:
                missing -= 1
        if not is_tried and self._tried and not self._stopping.is_set():
            self._try()
        if self._stopping.is_set():
            self._report.ended = "stopped"

    def _try(self) -> None:
        if self._tried:
            canary.wait(self._tried, stopping=self._stopping, say=self._say)
        if not self._stopping.is_set():
            self._report.refreshed += len(self._tried)

    def _move(self, found: Candidate, *, is_canary: bool) -> bool:
        now = self._began + timedelta(seconds=time.monotonic() - self._began_here)
        fraction = random.random()  # noqa: S311 (jitter)
        due_at = (
            now
            if is_canary
            else spreading.due_at(found, now=now, spread=self._spread, fraction=fraction)
        )
        moved = move(self._source, found, due_at=due_at)
        self._progress(1)
        if moved.end is not End.MOVED:
            self._report.count(moved.end, found, moved.reason)
            return False
        self._saw(found, now=now, is_canary=is_canary)
        if is_canary:
            self._tried[found.user_id] = canary.generation_of(found.user_id)
        return True

    def _found(self) -> Iterator[Candidate]:
        """What can be moved; the rest is reported."""
        each: Found
        for each in self._source.found():
            if self._stopping.is_set():
                self._report.ended = "stopped"
                return
            self._report.found += 1
            match each:
                case Candidate():
                    yield each
                    continue
                case Problem():
                    self._report.add(each)
                case Emptied():
                    self._report.emptied += 1
            self._progress(1)

    def _saw(self, found: Candidate, *, now: datetime, is_canary: bool = False) -> None:
        expired = found.expires_at is not None and found.expires_at <= now
        # Of the first five the report says that they were refreshed.
        self._report.saw(found, is_expired=expired and not is_canary)


def _batches(found: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    iterator = iter(found)
    while some := list(islice(iterator, AT_ONCE)):
        yield some
