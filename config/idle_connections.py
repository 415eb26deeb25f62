"""Closing the database connections of a worker's threads that have nothing to do.

Django keeps one connection a thread, for lanes, which must not log in for each refresh. But
Celery hands tasks to its threads in turn, so that soon each of them would hold one for ever:
three workers of 64 threads are more than a stock PostgreSQL takes.
"""

import threading
import time
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

IDLE_SECONDS = 15.0
"""Longer than the usual interval between sweeps: a thread with work at each keeps its own."""
LOOK_SECONDS = 5.0


class IdleConnections:
    """The connections of threads between two tasks, and since when (monotonic clock)."""

    def __init__(self) -> None:
        # Held while a connection is closed, so that no task begins on it meanwhile.
        self._lock = threading.Lock()
        self._idle: dict[int, tuple[float, list[BaseDatabaseWrapper]]] = {}

    def start(self, **kwargs: Any) -> None:
        """Close idle connections from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="idle-connections", daemon=True).start()

    def task_begins(self, **kwargs: Any) -> None:
        """This thread has work: its connections stay."""
        with self._lock:
            self._idle.pop(threading.get_ident(), None)

    def task_ended(self, **kwargs: Any) -> None:
        """This thread has no work: its connections may be closed by another thread."""
        opened = [each for each in connections.all(initialized_only=True) if each.connection]
        for each in opened:
            if not each.allow_thread_sharing:
                each.inc_thread_sharing()
        with self._lock:
            self._idle[threading.get_ident()] = time.monotonic(), opened

    def close_old(self) -> int:
        """Close the connections of threads that have been idle for long; how many threads."""
        with self._lock:
            old = [
                thread
                for thread, (since, _) in self._idle.items()
                if time.monotonic() - since > IDLE_SECONDS
            ]
            for thread in old:
                for each in self._idle.pop(thread)[1]:
                    each.close()
        return len(old)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self.close_old()
