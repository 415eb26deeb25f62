"""Lanes and the sweep: how many loops refresh, and what each of them does.

The due index is the queue: a lane takes the most urgent due token from PostgreSQL, so
that nothing is enqueued twice, nothing goes stale in the broker, and a lost broker
loses nothing.
"""

import logging
import random
import time

from celery import current_app
from django.db import Error, connection
from kombu.exceptions import OperationalError as BrokerError

from spotify_auth import queues, schedule
from spotify_auth.celery_settings import LANE
from spotify_auth.conf import settings
from spotify_auth.refresh import memory_limit
from spotify_auth.refresh.lane import Lane
from spotify_auth.refresh.process import process
from spotify_auth.refresh.refresher import PermitComes, refresh_next
from spotify_auth.service_pause import NOT_PAUSED

logger = logging.getLogger(__name__)

TURN_SECONDS = 60.0
"""A lane that never runs out of work ends after half to all of this and enqueues another:
other tasks that wait for a thread get one, and the size of the process is checked."""

_DUE = f"""
SELECT count(*) FROM (
    (SELECT FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND due_at <= now() LIMIT %(counted)s)
    UNION ALL
    (SELECT FROM spotify_auth_spotifytoken
     WHERE status = 'reconnect_required' AND appeal_at <= now() LIMIT %(counted)s)
) AS due
WHERE {NOT_PAUSED}
"""  # noqa: S608  (a constant of this app)


def open_lanes() -> int:
    """Open as many lanes as the due work needs; how many were opened.

    Lanes that still wait in the queue count as open, so that several beats, and a queue that
    no worker has read for a day, do no harm. (Messages that expire would do the same only
    while the hosts' clocks agree.) REFRESH_LANES limits those that run (`attempts`). Lanes
    end by themselves when nothing is due.

    Where other tasks wait in the same queue, each of their messages counts as a lane too. So that
    a long queue does not end all refreshing, a sweep then opens one lane at least.
    """
    limit, sweep = settings.REFRESH_LANES, settings.REFRESH_SWEEP_SECONDS
    with connection.cursor() as cursor:
        # More than this open no further lane.
        cursor.execute(_DUE, {"counted": schedule.due_for_all_lanes(limit, sweep=sweep)})
        due = int(cursor.fetchone()[0])
    if not due:
        return 0
    queue = queues.of_task(LANE)
    least = 1 if queues.is_shared(queue) else 0
    needed = schedule.lanes_needed(due, sweep=sweep, limit=limit)
    wanted = max(least, needed - queues.waiting(queue))
    for _ in range(wanted):
        current_app.send_task(LANE)
    return wanted


def run_lane() -> int:
    """Refresh the most urgent due tokens, one after another, until none is left to take.

    Returns how many it took. Ends early when the worker stops, after the exchange in
    hand; when the lane may not ask Spotify now; when PostgreSQL fails, in which case the
    next sweep opens new lanes; and when its turn is over and another lane is enqueued.
    """
    taken, turn_ends = 0, _end_of_turn()
    try:
        with process.running.one_more(), Lane(may_wait=True) as lane:
            while not process.stopping.is_set():
                try:
                    if refresh_next(lane) is None:
                        break
                    taken += 1
                except PermitComes:
                    pass  # it waits for it, and then takes the token that is most urgent by then
                lane.rest(process.stopping)
                if time.monotonic() > turn_ends:
                    if _enqueued_another():
                        break
                    turn_ends = _end_of_turn()
    except Error as error:
        logger.error("lane_ended reason=%s", type(error).__name__)
    if not process.stopping.is_set():
        memory_limit.end_if_too_large()
    return taken


def _end_of_turn() -> float:
    """By this process's monotonic clock. At random, since lanes are opened together."""
    return time.monotonic() + TURN_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311


def _enqueued_another() -> bool:
    try:
        current_app.send_task(LANE, retry=False)
    except BrokerError as error:
        logger.warning("lane_extended reason=%s", type(error).__name__)
        return False
    return True


def stop_lanes() -> None:
    """Let every lane of this process end after the exchange in hand."""
    process.stopping.set()
