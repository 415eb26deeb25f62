"""What the operations page asks: a dozen short queries, and one question to Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from spotify_auth import connections, presence, service_pause
from spotify_auth.figures import counts, summary
from spotify_auth.figures.counts import Count, Latency
from spotify_auth.figures.summary import Summary
from spotify_auth.figures.tables import EventCount
from spotify_auth.presence import Seen
from spotify_auth.service_pause import Paused

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

MOST_ERRORS = 2000
"""Failing tokens whose errors are counted: the most urgent ones stand for all."""

_ERRORS = """
SELECT last_error, count(*) FROM (
    SELECT last_error FROM spotify_auth_spotifytoken
    WHERE status = 'active' AND failures > 0 ORDER BY expires_at LIMIT %s
) AS failing
WHERE last_error <> '' GROUP BY last_error ORDER BY count(*) DESC, last_error
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """The service at one moment."""

    now: datetime
    """PostgreSQL's clock, UTC."""
    summary: Summary
    paused: Paused | None
    processes: Sequence[Seen]
    minutes: Sequence[Count]
    """Of the last hour, the present minute too."""
    hours: Sequence[Count]
    """Of the last day, the present hour too."""
    latency: Latency
    """Of the last hour."""
    errors: Sequence[tuple[str, int]]
    """The last errors of tokens that back off, the most frequent first."""


def look() -> Looked:
    """Ask. Raises django.db.Error; without Redis `summary.traffic` is None, after two seconds."""
    return Looked(
        now=connections.database_now(),
        summary=summary.look(),
        paused=service_pause.current(),
        processes=presence.seen(),
        minutes=counts.since(HOUR),
        hours=counts.since(DAY, span=EventCount.Span.HOUR),
        latency=counts.latency_since(HOUR),
        errors=_errors(),
    )


def _errors() -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_ERRORS, [MOST_ERRORS])
        return [(error, tokens) for error, tokens in cursor.fetchall()]
