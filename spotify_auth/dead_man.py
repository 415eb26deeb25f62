"""A dead man's switch: the readers notice that nothing renews tokens any more.

Workers and beats that are gone cannot say so. A web process is alive and meets stale tokens:
it looks whether sweeps still come, and says so once a minute.
"""

import logging
import threading
import time

from django.db import Error

from spotify_auth import freshness
from spotify_auth.database_faults import leave_standby

logger = logging.getLogger(__name__)

REPEAT_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 5.0
"""How often a process asks PostgreSQL, however many stale tokens it meets (monotonic clock)."""


class DeadMan:
    """What one process has said of it. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._say_at = 0.0

    def stale_token_met(self) -> None:
        """A reader met a stale token: say it if no sweep came for three intervals."""
        with self._lock:
            now = time.monotonic()
            if now < max(self._look_at, self._say_at):
                return
            self._look_at = now + LOOK_AGAIN_SECONDS
        try:
            age = freshness.sweep_age()
        except Error as error:
            leave_standby(error)
            return  # the page itself says what it met
        if freshness.is_recent(age):
            return
        with self._lock:
            self._say_at = time.monotonic() + REPEAT_SECONDS
        seconds = "never" if age is None else f"{age:.0f}"
        logger.error("renewal_not_running last_sweep_seconds=%s look_at=worker,beat", seconds)


dead_man = DeadMan()
