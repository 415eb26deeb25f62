"""Signs of life: which workers and beats there are, and when each was last there.

Each of them leaves a sign in PostgreSQL once a sweep's interval. One that ends gently takes its
sign away; one that is killed, frozen or cut off leaves it, with the time at which it was last
seen. Nothing depends on the signs: without PostgreSQL there are none, and refreshing goes on.
"""

import atexit
import logging
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import Error, connection

import spotify_auth
from spotify_auth import freshness
from spotify_auth.conf import settings
from spotify_auth.database_faults import leave_standby
from spotify_auth.lasting import Lasting
from spotify_auth.models import Presence
from spotify_auth.time_limit import limited

logger = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
"""How long the sign of a process that is gone is shown."""
LONGEST_SECONDS = 2.0
"""How long one statement may take, and how long a process that ends waits for it."""

_SHOW = """
INSERT INTO spotify_auth_presence
    (id, kind, host, pid, version, lanes_allowed, lanes_running, started_at, seen_at)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(version)s, %(lanes_allowed)s, %(lanes_running)s,
        clock_timestamp() - make_interval(secs => %(age)s), clock_timestamp())
ON CONFLICT (id) DO UPDATE
    SET lanes_running = excluded.lanes_running, seen_at = excluded.seen_at
"""
# A time that lies ahead was written before the clock was set back.
_SEEN = """
SELECT kind, host, pid, version, lanes_allowed, lanes_running,
       extract(epoch FROM clock_timestamp() - started_at)::float,
       abs(extract(epoch FROM clock_timestamp() - seen_at))::float
FROM spotify_auth_presence ORDER BY kind DESC, host, started_at
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One process, as its last sign had it. Times in seconds, by PostgreSQL's clock."""

    kind: Presence.Kind
    host: str
    pid: int
    version: str
    lanes_allowed: int
    """How many lanes it may run at the same time; 0 for beats."""
    lanes_running: int
    started_seconds: float
    """How long ago it started."""
    seen_seconds: float
    """How long ago its last sign was."""

    @property
    def is_there(self) -> bool:
        """Whether its last sign is as recent as that of a process at work is."""
        return freshness.is_recent(self.seen_seconds)


class Sign:
    """The sign of this process, shown by a thread that asks for it once a sweep's interval."""

    def __init__(self, kind: Presence.Kind, *, lanes_allowed: int = 0) -> None:
        self._identity = {
            "id": uuid.uuid4(),
            "kind": kind.value,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "version": spotify_auth.__version__,
            "lanes_allowed": lanes_allowed,
        }
        self._started = time.monotonic()
        self._failing = Lasting()

    def show(self, *, lanes_running: int = 0) -> None:
        """Say that this process is there. Without PostgreSQL that is one line in the log."""
        age = time.monotonic() - self._started
        self._run(_SHOW, {**self._identity, "lanes_running": lanes_running, "age": age})

    def remove(self) -> None:
        """This process ends as it should."""
        self._run("DELETE FROM spotify_auth_presence WHERE id = %(id)s", self._identity)

    def _run(self, statement: str, values: dict[str, Any]) -> None:
        try:
            with limited(seconds=LONGEST_SECONDS) as cursor:
                cursor.execute(statement, values)
        except Error as error:
            leave_standby(error)
            if self._failing.begins():
                logger.warning("presence_not_noted reason=%s", type(error).__name__)
        else:
            self._failing.ends()


def show_beat() -> None:
    """Show the sign of a beat from now on, in a thread of its own, until the process ends."""
    ending = threading.Event()
    sign = Sign(Presence.Kind.BEAT)

    def run() -> None:
        while True:
            try:
                sign.show()
            finally:
                connection.close()  # in between it would be one more for PostgreSQL to hold
            if ending.wait(settings.REFRESH_SWEEP_SECONDS):
                break
        sign.remove()
        connection.close()

    def end() -> None:
        ending.set()
        thread.join(LONGEST_SECONDS)

    thread = threading.Thread(target=run, name="presence", daemon=True)
    thread.start()
    atexit.register(end)


def seen() -> list[Seen]:
    """Every worker, then every beat, that left a sign and did not take it away.

    Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SEEN)
        rows = cursor.fetchall()
    return [
        Seen(
            kind=Presence.Kind(kind),
            host=host,
            pid=pid,
            version=version,
            lanes_allowed=allowed,
            lanes_running=running,
            started_seconds=started,
            seen_seconds=last,
        )
        for kind, host, pid, version, allowed, running, started, last in rows
    ]
