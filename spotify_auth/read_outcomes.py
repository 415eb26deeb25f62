"""How often readers got a fresh token, and what else they got: counted by all processes together.

A process counts in its memory and adds to a hash in Redis, some seconds later and in a thread of
its own: no reader waits for it. What a process counted in its last seconds may be lost when it
ends; so may everything when Redis is, and the counters then begin again at 0.
"""

import logging
import os
import threading
from collections import Counter
from typing import Final

import redis

from spotify_auth import redis_client

logger = logging.getLogger(__name__)

KEY: Final = "spotify_reads"
OUTCOMES: Final = ("fresh", "stale", "not_connected", "reconnect_required", "paused")
ADD_AFTER_SECONDS = 5.0


class ReadOutcomes:
    """What one process counted and has not added yet. Threads share it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin with nothing, as a process of its own does."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._adding = False

    def count(self, outcome: str) -> None:
        """One read. `outcome` is one of OUTCOMES."""
        with self._lock:
            self._counts[outcome] += 1
            if self._adding:
                return
            self._adding = True
        timer = threading.Timer(ADD_AFTER_SECONDS, self.add)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no thread is to be had: no reader fails for that
            self._adding = False

    def add(self) -> None:
        """Add to Redis what was counted; without Redis it is kept for the next time."""
        with self._lock:
            counted, self._counts, self._adding = self._counts, Counter(), False
        try:
            connected = redis_client.client()
            for outcome in list(counted):
                connected.hincrby(KEY, outcome, counted[outcome])
                del counted[outcome]
        except redis.RedisError as error:
            logger.warning("reads_not_counted reason=%s", type(error).__name__)
            with self._lock:
                self._counts += counted


outcomes = ReadOutcomes()
# A forked process has no timer, and what was counted before is its parent's.
os.register_at_fork(after_in_child=outcomes.forget)
