"""Announcing that all refreshing pauses, and that it goes on again.

What pauses it is in Redis, which holds no truth and tells nobody when a pause ends by itself. So
PostgreSQL has a row for what was announced, and whoever looks announces the difference: the lane
that began or ended a pause, and every sweep. The row makes it once, whoever looks.
"""

import logging
from datetime import datetime

import redis
from django.db import Error, connection, transaction

from spotify_auth import cooldown
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft
from spotify_auth.sentences import why_paused

logger = logging.getLogger(__name__)

COOL_DOWN = "cool_down"

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
        with connection.cursor() as cursor:
            cursor.execute(_ANNOUNCED, [COOL_DOWN])
            looked_at, announced = cursor.fetchone()
        present = cooldown.reason_or_raise()
        if present and announced is None:
            _begin(present)
        elif announced is not None and not present:
            _end(looked_at)
    except (Error, redis.RedisError) as error:
        logger.warning("pause_not_announced reason=%s", type(error).__name__)


@transaction.atomic
def _begin(reason: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, [COOL_DOWN, reason])
        begun = bool(cursor.rowcount)
    if begun:
        outbox.write(_draft(Kind.PAUSED, reason, why_paused(reason)))


@transaction.atomic
def _end(looked_at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_END, [COOL_DOWN, looked_at])
        row = cursor.fetchone()
    if row:
        outbox.write(_draft(Kind.RESUMED, row[0], "All refreshing goes on."))


def _draft(kind: Kind, reason: str, sentence: str) -> Draft:
    return Draft(kind=kind, once=None, reason=reason, sentence=sentence)
