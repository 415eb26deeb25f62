"""Is anybody about to lose access? The figures, from indexes that are small while all is well.

A token that is not fresh is due, backs off or sleeps. So nobody needs to look at a million
rows: the due index has the first, a partial index the second, and sleeping tokens are let
expire on purpose.
"""

from dataclasses import dataclass

from django.db import connection

from spotify_auth import chores
from spotify_auth.conf import settings

LOOKED_AT = 100_000
"""How many due tokens are looked at, at most: with more, all is lost but the count."""
COUNTED = 20_000
"""Up to here connected tokens are counted; of more PostgreSQL's own estimate is taken."""
SOON_SECONDS = 900.0
MISSED_INTERVALS = 3
"""Intervals without a sweep after which nothing renews tokens. Workers sweep without beat too."""

_MEASURE = """
WITH troubled AS (
    (SELECT user_id, due_at, expires_at, suspected_at, failures FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND due_at <= now() ORDER BY due_at LIMIT %(looked_at)s)
    UNION
    (SELECT user_id, due_at, expires_at, suspected_at, failures FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND failures > 0 ORDER BY expires_at LIMIT %(looked_at)s)
), soonest AS (
    SELECT min(expires_at) AS expires_at FROM (
        SELECT expires_at FROM spotify_auth_spotifytoken
        WHERE status = 'active' AND due_at > now() AND due_at < expires_at
        ORDER BY due_at LIMIT 100
    ) AS healthy
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
       count(*) FILTER (WHERE failures > 0),
       count(*) FILTER (WHERE suspected_at IS NOT NULL),
       count(*) FILTER (WHERE troubled.expires_at > now() + make_interval(secs => %(needed)s)
                          AND troubled.expires_at <= now() + make_interval(secs => %(soon)s)),
       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float,
       extract(epoch FROM least(min(troubled.expires_at), min(soonest.expires_at)) - now())::float
FROM counted CROSS JOIN soonest LEFT JOIN troubled ON true
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
    failing: int
    """Those whose latest exchange failed, suspects among them."""
    suspected: int
    expire_soon: int
    """Due or failing, fresh still, and expired within a quarter of an hour unless refreshed."""
    oldest_overdue: float
    worst: float | None
    """What is left of the token with the least life; negative if it has expired. None: no token."""

    @property
    def share(self) -> float:
        """The share of connected users with a fresh token, from 0 to 1."""
        return 1 - self.stale / self.connected if self.connected else 1.0

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
                "soon": SOON_SECONDS,
            },
        )
        row = cursor.fetchone()
    connected, stale, refused, overdue, failing, suspected, soon, oldest, worst = row
    return Freshness(
        connected=connected,
        stale=stale,
        refused=refused,
        overdue=overdue,
        failing=failing,
        suspected=suspected,
        expire_soon=soon,
        oldest_overdue=oldest,
        worst=worst,
    )


def sweep_age() -> float | None:
    """Seconds since the last sweep, of beat or of a worker; None if there was none yet.

    Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SWEEP_AGE, [[chores.SWEEP, chores.OWN_SWEEP]])
        age: float | None = cursor.fetchone()[0]
    return age


def renewal_is_running() -> bool:
    """Whether a sweep came within three intervals. Raises django.db.Error."""
    age = sweep_age()
    return age is not None and age <= MISSED_INTERVALS * settings.REFRESH_SWEEP_SECONDS
