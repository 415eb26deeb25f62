"""What the counted history says: totals ever, counts by the minute or hour, percentiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from spotify_auth.figures import latency
from spotify_auth.figures.tables import EventCount
from spotify_auth.models import Outcome

REFRESH_OUTCOMES: Final = (
    Outcome.REFRESHED,
    Outcome.RETRY,
    Outcome.ANSWER_UNKNOWN,
    Outcome.SUSPECTED,
    Outcome.RECONNECT_REQUIRED,
)
"""What comes of an attempt to refresh. The other outcomes are what people did."""

_EVER = """
SELECT outcome, events, rotated, exchanges, milliseconds, buckets
FROM spotify_auth_eventcount WHERE span = 'ever'
"""
_SINCE = """
SELECT begins_at, outcome, events, rotated FROM spotify_auth_eventcount
WHERE span = %s AND begins_at > now() - make_interval(secs => %s) AND begins_at <= now()
ORDER BY begins_at, outcome
"""
_BUCKETS = """
SELECT coalesce(array_agg(total ORDER BY place), '{}') FROM (
    SELECT place, sum(counted)::bigint AS total
    FROM spotify_auth_eventcount, unnest(buckets) WITH ORDINALITY AS bucket (counted, place)
    WHERE span = 'minute'
      AND begins_at > now() - make_interval(secs => %s) AND begins_at <= now()
    GROUP BY place
) AS summed
"""
_AGE = "SELECT extract(epoch FROM clock_timestamp() - at)::float FROM spotify_auth_rolledup"


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """All events of one outcome, ever."""

    events: int
    rotated: int
    exchanges: int
    """Those with an answer of Spotify's, timed."""
    seconds: float
    """What these took together."""
    buckets: Sequence[int]
    """The same by duration, see `latency.BOUNDS_MS`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """The events of one outcome in a minute or an hour. UTC, PostgreSQL's clock."""

    begins_at: datetime
    outcome: str
    events: int
    rotated: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Seconds that half, 95 and 99 of 100 exchanges with Spotify did not exceed."""

    median: float | None
    p95: float | None
    p99: float | None


def totals() -> dict[str, Total]:
    """By outcome; outcomes that never happened are left out. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_EVER)
        return {
            outcome: Total(
                events=events,
                rotated=rotated,
                exchanges=exchanges,
                seconds=milliseconds / 1000,
                buckets=buckets,
            )
            for outcome, events, rotated, exchanges, milliseconds, buckets in cursor.fetchall()
        }


def since(ago: timedelta, *, span: EventCount.Span = EventCount.Span.MINUTE) -> list[Count]:
    """What happened in each minute, or hour, that began within this time; the present one too.

    In the order of time; minutes and outcomes without an event are left out. Minutes are kept
    for `roll_up.MINUTES_KEPT`. Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SINCE, [span, ago.total_seconds()])
        return [
            Count(begins_at=begins_at, outcome=outcome, events=events, rotated=rotated)
            for begins_at, outcome, events, rotated in cursor.fetchall()
        ]


def latency_since(ago: timedelta) -> Latency:
    """Of all exchanges of the last minutes or hours. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_BUCKETS, [ago.total_seconds()])
        buckets = cursor.fetchone()[0]
    return Latency(
        median=latency.percentile(buckets, 0.5),
        p95=latency.percentile(buckets, 0.95),
        p99=latency.percentile(buckets, 0.99),
    )


def age() -> float | None:
    """Seconds since all of the history was counted; None if it never was.

    Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(_AGE)
        row = cursor.fetchone()
    return row[0] if row else None
