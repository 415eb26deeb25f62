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

from spotify_auth import attempts, recycling
from spotify_auth.refresher import refresh_next, stopping

logger = logging.getLogger(__name__)

QUEUE = "lanes"

_DUE = """
SELECT count(*) FROM (
    SELECT FROM spotify_auth_spotifytoken
    WHERE status = 'active' AND due_at <= now()
    LIMIT %s
) AS due
"""


def open_lanes() -> int:
    """Open as many lanes as there is due work, up to REFRESH_LANES; how many were opened.

    Lanes that still wait in the queue count as open. So several beats, and a queue that
    nobody has read for a day, do no harm. (Messages that expire would do the same only
    while the hosts' clocks agree.)
    """
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [settings.REFRESH_LANES])
        due = int(cursor.fetchone()[0])
    if not due:
        return 0
    with current_app.pool.acquire(block=True) as broker:
        # celery-types takes this pool for one of producers.
        channel = cast(Connection, broker).default_channel
        waiting: int = cast(Channel, channel).queue_declare(QUEUE).message_count
    wanted = max(0, due - waiting)
    for _ in range(wanted):
        current_app.send_task("spotify_auth.lane")
    return wanted


def run_lane() -> int:
    """Refresh the most urgent due tokens, one after another, until none is left to take.

    Returns how many it took. Ends early when the worker stops, after the exchange in
    hand, and when PostgreSQL fails: the next sweep opens new lanes.
    """
    taken = 0
    try:
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
