"""Lanes and the sweep: how many loops refresh, and what each of them does.

The due index is the queue: a lane takes the most urgent due token from PostgreSQL, so
that nothing is enqueued twice, nothing goes stale in the broker, and a lost broker
loses nothing.
"""

import logging
from typing import cast

from celery import current_app
from django.conf import settings
from django.db import Error, connection
from kombu import Connection
from kombu.transport.virtual import Channel

from spotify_auth import attempts, claims, recycling, schedule
from spotify_auth.joined_transaction import sent_ahead
from spotify_auth.refresher import refresh_next, stopping

logger = logging.getLogger(__name__)

QUEUE = "lanes"

COUNTED = 20_000
"""So many due tokens are counted; more would open no more lanes."""
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
_LATENCY = """
SELECT avg(duration_ms) / 1000 FROM (
    SELECT duration_ms FROM spotify_auth_tokenevent ORDER BY id DESC LIMIT %s
) AS latest
"""


def open_lanes() -> int:
    """Open as many lanes as the due work needs, up to REFRESH_LANES; how many were opened.

    Lanes that still wait in the queue count as open. So several beats, and a queue that
    nobody has read for a day, do no harm. (Messages that expire would do the same only
    while the hosts' clocks agree.) Lanes end by themselves when nothing is due.
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
    return schedule.lanes_needed(
        due,
        latency=ASSUMED_SECONDS if measured is None else float(measured),
        sweep=settings.REFRESH_SWEEP_SECONDS,
        limit=settings.REFRESH_LANES,
    )


def run_lane() -> int:
    """Refresh the most urgent due tokens, one after another, until none is left to take.

    Returns how many it took. Ends early when the worker stops, after the exchange in
    hand, and when PostgreSQL fails: the next sweep opens new lanes.
    """
    taken = 0
    try:
        with sent_ahead(claims.next_statement):
            while not stopping.is_set() and refresh_next() is not None:
                taken += 1
    except Error as error:
        logger.error("lane_ended reason=%s", type(error).__name__)
        connection.close()
    finally:
        attempts.sweep_up()
    recycling.end_if_too_large()
    return taken


def stop_lanes() -> None:
    """Let every lane of this process end after the exchange in hand."""
    stopping.set()
