"""Claims timed in turns in several databases, each by a thread with its own session."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection as database

from benchmarks.million import database_of
from spotify_auth.refresh.process import DueCursor, process

Result = TypeVar("Result")

Seconds = Mapping[int, Sequence[float]]
"""Durations of claims, by the number of tokens."""

WARM_UP = 10
"""Claims that warm a session up and do not count."""


class Session:
    """A thread with its own session in one of the databases, like a process of its own."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._start = DueCursor()
        with database_of(name):
            # Looked up in the thread, whose connection is another than ours.
            self.do(lambda: database.ensure_connection())

    def do(self, work: Callable[[], Result]) -> Result:
        """Work in its thread, with where its claims begin."""
        process.due = self._start
        return self._thread.submit(work).result()

    def close(self) -> None:
        """End the session and its thread."""
        self.do(lambda: database.close())
        self._thread.shutdown()


Sessions = Mapping[int, Session]


@contextmanager
def open_sessions(names: Mapping[int, str]) -> Iterator[Sessions]:
    """A session in each database, by the number of its tokens."""
    sessions = {tokens: Session(name) for tokens, name in names.items()}
    try:
        yield sessions
    finally:
        for session in sessions.values():
            session.close()


def in_turns(sessions: Sessions, claim: Callable[[], float], count: int) -> Seconds:
    """One claim among the few, one among the many, and so on."""
    seconds: dict[int, list[float]] = {tokens: [] for tokens in sessions}
    for n in range(WARM_UP + count):
        for tokens, session in sessions.items():
            duration = session.do(claim)
            if n >= WARM_UP:
                seconds[tokens].append(duration)
    return seconds
