"""Announcing that all refreshing pauses, and that it goes on again.

What pauses it is in Redis, which holds no truth and tells nobody when a pause ends by itself. So
PostgreSQL has a row for what was announced, and whoever looks announces the difference: the lane
that began or ended a pause, and every sweep. The row makes it once, whoever looks.
"""

import logging
from datetime import datetime

import redis
from django.db import Error

from spotify_auth import cooldown
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft
from spotify_auth.sentences import why_paused
from spotify_auth.time_limit import limited

logger = logging.getLogger(__name__)

COOL_DOWN = "cool_down"
OPERATOR = "operator"
"""The reason of a pause by an operator, which is a row of its own (`verbs.pause_all`)."""

_ANNOUNCED = """
SELECT clock_timestamp(), (SELECT reason FROM spotify_auth_announcedpause WHERE kind = %s)
"""
_BEGIN = """
INSERT INTO spotify_auth_announcedpause (kind, reason, since)
VALUES (%s, %s, clock_timestamp()) ON CONFLICT DO NOTHING
"""
# What began after the look at Redis is not over because of it.
_END = """
DELETE FROM spotify_auth_announcedpause WHERE kind = %s AND since < %s RETURNING reason
"""


def look() -> None:
    """Announce what has changed since somebody looked.

    What cannot be seen now is left to the next sweep.
    """
    try:
        with limited() as cursor:
            cursor.execute(_ANNOUNCED, [COOL_DOWN])
            looked_at, announced = cursor.fetchone()
        present = cooldown.reason_or_raise()
        if present and announced is None:
            _begin(present)
        elif announced is not None and not present:
            _end(looked_at)
    except (Error, redis.RedisError) as error:
        logger.warning("pause_not_announced reason=%s", type(error).__name__)


def _begin(reason: str) -> None:
    with limited() as cursor:
        cursor.execute(_BEGIN, [COOL_DOWN, reason])
        if cursor.rowcount:
            outbox.write(paused(reason))


def _end(looked_at: datetime) -> None:
    with limited() as cursor:
        cursor.execute(_END, [COOL_DOWN, looked_at])
        row = cursor.fetchone()
        if row:
            outbox.write(resumed(row[0]))


def paused(reason: str) -> Draft:
    """All refreshing pauses."""
    return Draft(kind=Kind.SERVICE_PAUSED, reason=reason, sentence=why_paused(reason))


def resumed(reason: str) -> Draft:
    """It goes on; `reason` is why it did not."""
    return Draft(kind=Kind.SERVICE_RESUMED, reason=reason, sentence="All refreshing goes on.")
