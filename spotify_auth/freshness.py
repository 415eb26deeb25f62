"""Whether users are about to lose access: figures from indexes that are small while all is well.

A token that is not fresh is due, backs off or sleeps. So nobody needs to look at a million
rows: the due index has the first, a partial index the second, and sleeping tokens are let
expire on purpose.
"""

from dataclasses import dataclass, fields

from django.db import connection

from spotify_auth import chores
from spotify_auth.conf import settings

LOOKED_AT = 20_000
"""How many due tokens are looked at, at most. Beyond it the figures are lower bounds: during an
outage PostgreSQL has better things to do than to count the whole backlog again and again."""
COUNTED = 5_000
"""Up to here connected tokens are counted; of more PostgreSQL's own estimate is taken."""
NEXT_ONES = 200
"""How many healthy tokens are asked when the next one expires."""
EXPIRING_SECONDS = 15 * 60.0
"""A token that has less left and is not being refreshed is about to expire."""
ROUTINE_FAILURES = 2
"""Failures in a row that a token may have without a word: among many, some always fail once, and
are refreshed some seconds later."""
MISSED_INTERVALS = 3
"""Intervals without a sweep after which nothing renews tokens. Workers sweep without beat too."""

TROUBLED = """
    (SELECT user_id, due_at, expires_at, suspected_at, failures FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND due_at <= now() ORDER BY due_at LIMIT %(looked_at)s)
    UNION
    (SELECT user_id, due_at, expires_at, suspected_at, failures FROM spotify_auth_spotifytoken
     WHERE status = 'active' AND failures > 0 ORDER BY expires_at LIMIT %(looked_at)s)
"""
"""The tokens that are due or back off, for a statement of its own."""
CONNECTED = """
    SELECT CASE WHEN tokens < %(counted)s THEN tokens
                ELSE greatest(tokens, (SELECT reltuples::bigint FROM pg_class
                                       WHERE oid = 'token_due'::regclass)) END
    FROM (SELECT count(*) AS tokens FROM (
        SELECT FROM spotify_auth_spotifytoken WHERE status = 'active' LIMIT %(counted)s
    ) AS first_ones) AS counted
"""
"""How many tokens are active, for a statement of its own."""

# Healthy tokens expire in about the order in which they are due, so the next ones tell the worst.
_MEASURE = f"""
WITH troubled AS ({TROUBLED}), troubles AS (
    SELECT *, expires_at - now() AS left_to_live,
           expires_at <= now() + make_interval(secs => %(needed)s) AS stale,
           suspected_at IS NOT NULL AS refused
    FROM troubled
), next_ones AS (
    SELECT expires_at - now() AS left_to_live FROM spotify_auth_spotifytoken
    WHERE status = 'active' AND due_at > now() AND due_at <= expires_at AND suspected_at IS NULL
    ORDER BY due_at LIMIT %(next_ones)s
)
SELECT ({CONNECTED}),
       count(*) FILTER (WHERE stale),
       count(*) FILTER (WHERE stale AND refused),
       count(*) FILTER (WHERE due_at <= now()),
       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float,
       count(*) FILTER (WHERE refused),
       count(*) FILTER (WHERE failures > 0),
       count(*) FILTER (
           WHERE NOT stale AND NOT refused AND left_to_live <= make_interval(secs => %(soon)s)
             AND (failures > %(routine)s OR due_at <= now() - make_interval(secs => %(late)s))),
       extract(epoch FROM least(min(left_to_live) FILTER (WHERE NOT refused),
                                (SELECT min(left_to_live) FROM next_ones)))::float,
       extract(epoch FROM min(left_to_live) FILTER (WHERE refused))::float
FROM troubles
"""  # noqa: S608  (every value is a parameter)
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
    """Due at this moment. In a healthy service a few are, for as long as a sweep takes."""
    oldest_overdue: float
    suspected: int
    """Refused and not condemned yet, stale or not."""
    backing_off: int
    """Tokens whose latest attempt failed, suspected ones among them."""
    expiring: int
    """Not stale yet, but within EXPIRING_SECONDS: they failed more than ROUTINE_FAILURES times in a
    row, or are due for too long. Those that Spotify refused are left out."""
    worst_left: float | None
    """Until the first access token expires, or since: refused and sleeping ones left out. None
    if nobody is connected."""
    worst_refused_left: float | None
    """The same of the refused ones; None without any."""

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
                "next_ones": NEXT_ONES,
                "soon": EXPIRING_SECONDS,
                "routine": ROUTINE_FAILURES,
                "late": MISSED_INTERVALS * settings.REFRESH_SWEEP_SECONDS,
            },
        )
        names = [field.name for field in fields(Freshness)]
        return Freshness(**dict(zip(names, cursor.fetchone(), strict=True)))


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
