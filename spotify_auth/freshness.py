"""Whether users are about to lose access: figures from indexes that are small while all is well.

A token that is not fresh is due, backs off or sleeps. So nobody needs to look at a million
rows: the due index has the first, a partial index the second, and sleeping tokens are let
expire on purpose.
"""

from dataclasses import dataclass

from django.db import connection

from spotify_auth import chores
from spotify_auth.conf import settings

LOOKED_AT = 100_000
"""How many due tokens are looked at, at most. Beyond it the figures are lower bounds."""
COUNTED = 20_000
"""Up to here connected tokens are counted; of more PostgreSQL's own estimate is taken."""
MISSED_INTERVALS = 3
"""Intervals without a sweep after which nothing renews tokens. Workers sweep without beat too."""

_MEASURE = """
WITH troubled AS (
    (SELECT user_id, due_at, expires_at, suspected_at FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND due_at <= now() ORDER BY due_at LIMIT %(looked_at)s)
    UNION
    (SELECT user_id, due_at, expires_at, suspected_at FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND failures > 0 ORDER BY expires_at LIMIT %(looked_at)s)
), counted AS (
    SELECT count(*) AS tokens FROM (
        SELECT FROM spotify_auth_spotifytoken WHERE status = 'active' LIMIT %(counted)s
    ) AS first_ones
)
SELECT CASE WHEN counted.tokens < %(counted)s THEN counted.tokens
            ELSE greatest(counted.tokens, (SELECT reltuples::bigint FROM pg_class
                                           WHERE oid = 'token_due'::regclass)) END,
       count(*) FILTER (WHERE troubled.expires_at <= now() + make_interval(secs => %(needed)s)),
       count(*) FILTER (WHERE troubled.expires_at <= now() + make_interval(secs => %(needed)s)
                          AND suspected_at IS NOT NULL),
       count(*) FILTER (WHERE due_at <= now()),
       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float
FROM counted LEFT JOIN troubled ON true
GROUP BY counted.tokens
"""
# A time that lies ahead was written before the clock was set back.
_SWEEP_AGE = """
SELECT min(abs(extract(epoch FROM clock_timestamp() - done_at)))::float
FROM spotify_auth_chore WHERE name = ANY(%s)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Freshness:
    """How well the tokens of connected users are kept. Times in seconds, PostgreSQL's clock."""

    connected: int
    """Active tokens; PostgreSQL's estimate where there are many."""
    stale: int
    """Of them with less than ACCESS_TOKEN_MINIMUM_SECONDS left, sleeping ones left out."""
    refused: int
    """Stale ones that Spotify refused, and that are not condemned yet: no fault of ours."""
    overdue: int
    oldest_overdue: float

    @property
    def unexplained(self) -> int:
        """Stale tokens that Spotify did not refuse: these should be none."""
        return self.stale - self.refused


def measure() -> Freshness:
    """The figures of this moment, from one query. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(
            _MEASURE,
            {
                "looked_at": LOOKED_AT,
                "counted": COUNTED,
                "needed": settings.ACCESS_TOKEN_MINIMUM_SECONDS,
            },
        )
        row = cursor.fetchone()
    connected, stale, refused, overdue, oldest_overdue = row
    return Freshness(
        connected=connected,
        stale=stale,
        refused=refused,
        overdue=overdue,
        oldest_overdue=oldest_overdue,
    )


def sweep_age() -> float | None:
    """Seconds since the last sweep, of beat or of a worker; None if there was none yet.

    Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SWEEP_AGE, [[chores.SWEEP, chores.OWN_SWEEP]])
        age: float | None = cursor.fetchone()[0]
    return age


def is_recent(age: float | None) -> bool:
    """Whether a sweep of this age says that tokens are renewed."""
    return age is not None and age <= MISSED_INTERVALS * settings.REFRESH_SWEEP_SECONDS


def renewal_is_running() -> bool:
    """Whether a sweep came within three intervals. Raises django.db.Error."""
    return is_recent(sweep_age())
