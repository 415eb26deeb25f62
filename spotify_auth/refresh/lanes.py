"""Lanes and the sweep: how many loops refresh, and what each of them does.

The due index is the queue: a lane takes the most urgent due token from PostgreSQL, so
that nothing is enqueued twice, nothing goes stale in the broker, and a lost broker
loses nothing.
"""

import logging
import random
import time
from typing import cast

from celery import current_app
from django.db import Error, connection
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError
from kombu.transport.virtual import Channel

from spotify_auth import schedule
from spotify_auth.conf import settings
from spotify_auth.refresh import attempts, claims, memory_limit
from spotify_auth.refresh.refresher import refresh_next, stopping
from spotify_auth.refresh.transaction import Statement, sent_ahead

logger = logging.getLogger(__name__)

QUEUE = "lanes"

TURN_SECONDS = 60.0
"""A lane that never runs out of work ends after half to all of this and enqueues another:
what else waits for a thread gets one, and the size of the process is looked at."""

COUNTED = 20_000
"""So many due tokens are counted, which bounds what a sweep costs."""
MEASURED = 100
"""So many of the latest exchanges tell how long one takes at present."""
ASSUMED_SECONDS = 1.0
"""What one takes when there was none yet."""

_DUE = """
SELECT count(*) FROM (
    SELECT FROM spotify_auth_spotifytoken
    WHERE status = 'active' AND due_at <= now()
    LIMIT %s
) AS due
"""
# Each lane with work holds a row lock, and with it this lock on the table. PostgreSQL forgets
# it at once with a worker that is killed, which no count of our own would.
_RUNNING = """
SELECT count(DISTINCT pid) FROM pg_locks
WHERE relation = 'spotify_auth_spotifytoken'::regclass AND mode = 'RowShareLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_LATENCY = """
SELECT avg(duration_ms) / 1000 FROM (
    SELECT duration_ms FROM spotify_auth_tokenevent ORDER BY id DESC LIMIT %s
) AS latest
"""


def open_lanes() -> int:
    """Open as many lanes as the due work needs, up to REFRESH_LANES; how many were opened.

    That limit is for those that run, in whatever worker, as well. Lanes that still wait in
    the queue count as open. So several beats, and a queue that nobody has read for a day,
    do no harm. (Messages that expire would do the same only while the hosts' clocks agree.)
    Lanes end by themselves when nothing is due.
    """
    needed = _lanes_needed()
    if not needed:
        return 0
    with current_app.pool.acquire(block=True) as broker:
        # celery-types takes this pool for one of producers.
        channel = cast(Connection, broker).default_channel
        waiting: int = cast(Channel, channel).queue_declare(QUEUE).message_count
    wanted = max(0, needed - waiting)
    for _ in range(wanted):
        current_app.send_task("spotify_auth.lane")
    return wanted


def _lanes_needed() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [COUNTED])
        due = int(cursor.fetchone()[0])
        if not due:
            return 0
        cursor.execute(_LATENCY, [MEASURED])
        measured = cursor.fetchone()[0]
        cursor.execute(_RUNNING)
        running = int(cursor.fetchone()[0])
    return schedule.lanes_needed(
        due,
        latency=ASSUMED_SECONDS if measured is None else float(measured),
        sweep=settings.REFRESH_SWEEP_SECONDS,
        # Not less for each that runs: the lock may be somebody else's, or its lane hang.
        limit=max(0, settings.REFRESH_LANES - running),
    )


def run_lane() -> int:
    """Refresh the most urgent due tokens, one after another, until none is left to take.

    Returns how many it took. Ends early when the worker stops, after the exchange in
    hand, when PostgreSQL fails, in which case the next sweep opens new lanes, and when its
    turn is over and another lane is enqueued.
    """
    taken, turn_ends = 0, _end_of_turn()

    def next_claim() -> Statement | None:
        # A claim that is given back waits for the next one from the very left, for a second.
        return None if time.monotonic() > turn_ends else claims.next_statement()

    try:
        with sent_ahead(next_claim):
            while not stopping.is_set() and refresh_next() is not None:
                taken += 1
                if time.monotonic() > turn_ends:
                    if _enqueued_another():
                        break
                    turn_ends = _end_of_turn()
    except Error as error:
        logger.error("lane_ended reason=%s", type(error).__name__)
        connection.close()
    finally:
        attempts.sweep_up()
    if not stopping.is_set():
        memory_limit.end_if_too_large()
    return taken


def _end_of_turn() -> float:
    """By this process's monotonic clock. At random, since lanes are opened together."""
    return time.monotonic() + TURN_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311


def _enqueued_another() -> bool:
    try:
        current_app.send_task("spotify_auth.lane", retry=False)
    except BrokerError as error:
        logger.warning("lane_goes_on reason=%s", type(error).__name__)
        return False
    return True


def stop_lanes() -> None:
    """Let every lane of this process end after the exchange in hand."""
    stopping.set()
