"""Work that is due every so often, by PostgreSQL's clock, done by whichever worker finds it due.

Beat keeps its intervals in memory: one that is restarted every few minutes never comes to
what is hourly, and one whose clock was set back sends nothing for as long. So beat only
says "sweep", and each sweep enqueues the chores that are due.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from celery import current_app
from django.db import connection

SWEEP, OWN_SWEEP = "spotify_auth.sweep", "spotify_auth.sweep_without_beat"
"""The rows that stand for a sweep of beat's and for one that a worker did by itself."""

EVERY: dict[str, timedelta] = {}
"""How often each chore is due, by the name of its task."""

stopping = threading.Event()
"""Set when this process has been told to stop: a chore ends after the step in hand."""

# A time that lies ahead was written before the clock was set back: the chore is due. Not now():
# the transaction of another worker may have begun after this one, and be over.
_DUE = """
SELECT known.name FROM unnest(%s::text[], %s::interval[]) AS known (name, every)
LEFT JOIN spotify_auth_chore AS chore ON chore.name = known.name
WHERE done_at IS NULL
    OR done_at NOT BETWEEN clock_timestamp() - known.every AND clock_timestamp()
"""
_ADD = "INSERT INTO spotify_auth_chore (name) VALUES (%s) ON CONFLICT DO NOTHING"
_TAKE = """
UPDATE spotify_auth_chore SET done_at = clock_timestamp(), times = times + 1
WHERE name = (
    SELECT name FROM spotify_auth_chore
    WHERE name = %s AND (
        done_at IS NULL
        OR done_at NOT BETWEEN clock_timestamp() - %s * interval '1 second' AND clock_timestamp()
    )
    FOR UPDATE SKIP LOCKED
)
"""
_GIVE_BACK = "UPDATE spotify_auth_chore SET done_at = %s WHERE name = %s"


def register(name: str, *, every: timedelta) -> None:
    """Let sweeps enqueue this task whenever it was last begun longer ago than `every`."""
    EVERY[name] = every


def enqueue_due() -> list[str]:
    """Enqueue a task for each chore that is due; the names. A chore may be enqueued twice.

    Raises django.db.Error, and kombu's OperationalError without a broker.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [list(EVERY), list(EVERY.values())])
        due = [name for (name,) in cursor.fetchall()]
    for name in due:
        current_app.send_task(name, retry=False)
    return due


def take(name: str, *, every: timedelta | None = None) -> bool:
    """Begin a chore; False if it is not due, or if another worker begins it now.

    It counts as done from here on, so that no transaction stays open over the work.
    """
    seconds = (EVERY[name] if every is None else every).total_seconds()
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [name, seconds])
        if cursor.rowcount:
            return True
        cursor.execute(_ADD, [name])
        if cursor.rowcount:  # the first time ever
            cursor.execute(_TAKE, [name, seconds])
        return bool(cursor.rowcount)


def give_back(name: str, *, done_at: datetime | None = None) -> None:
    """The chore is not done: another worker goes on at the next sweep.

    `done_at` is when it was last done, for one whose age is looked at.
    """
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_BACK, [done_at, name])


@contextmanager
def unhurried() -> Iterator[None]:
    """Do one step of a long work, then rest four times as long: lanes have the server meanwhile.

    Much that is left, after a week without workers, then takes a fifth of a core and no more. The
    rest ends when this process is told to stop.
    """
    begun = time.monotonic()
    yield
    stopping.wait(4 * (time.monotonic() - begun))
