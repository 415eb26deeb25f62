"""One line a minute of how many connected users have a fresh token, and the objective.

The objective: over seven days, 99.9 % of the time of all connected users passes with a fresh
access token. That allows for 10 minutes and 5 seconds a week in which nobody has one, or for
100 in which a tenth has none. Users whom Spotify refused, and users who were not seen for
REFRESH_DORMANT_AFTER, do not count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from spotify_auth import chores, freshness
from spotify_auth.conf import settings
from spotify_auth.time_limit import limited

SAMPLE: Final = "spotify_auth.freshness_sample"
"""The row of `Chore` that says when the latest sample was taken."""
EVERY: Final = timedelta(minutes=1)
OBJECTIVE: Final = 0.999
WINDOW: Final = timedelta(days=7)
KEPT: Final = timedelta(days=32)
"""For how long samples are kept: a month can be looked back upon."""
LOOKED_AT: Final = 100_000
"""How many due tokens a sample looks at: once a minute more of them are affordable."""

_TAKE = f"""
WITH troubled AS ({freshness.TROUBLED}), stale_ones AS (
    SELECT expires_at - make_interval(secs => %(needed)s) AS since,
           suspected_at IS NOT NULL AS refused
    FROM troubled WHERE expires_at <= now() + make_interval(secs => %(needed)s)
), before AS (
    SELECT coalesce(max(at), now() - interval '1 minute') AS at
    FROM spotify_auth_freshnesssample WHERE at < now()
)
INSERT INTO spotify_auth_freshnesssample (at, connected, stale, refused, overdue, stale_seconds)
SELECT now(),
       greatest(({freshness.CONNECTED}) - coalesce((
           SELECT tokens FROM spotify_auth_statuscount WHERE status = 'sleeping'), 0), 0),
       count(since), count(since) FILTER (WHERE refused),
       (SELECT count(*) FROM troubled WHERE due_at <= now()),
       coalesce(sum(extract(epoch FROM now() - greatest(since, before.at)))
                FILTER (WHERE NOT refused), 0)
FROM before LEFT JOIN stale_ones ON true
ON CONFLICT DO NOTHING
"""  # noqa: S608  (every value is a parameter)
_USED = """
SELECT coalesce(sum(stale_seconds / connected) FILTER (WHERE connected > 0), 0)::float, min(at)
FROM spotify_auth_freshnesssample WHERE at > now() - make_interval(secs => %s)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much of the objective's allowance is left. Both in minutes without anybody's token."""

    allowed: float
    used: float
    since: datetime | None
    """The first sample of the seven days; None without any."""

    @property
    def left(self) -> float:
        """Below zero if the objective is missed."""
        return self.allowed - self.used


def take_sample() -> bool:
    """Store how fresh the tokens are, if a minute has passed; whether it was stored.

    A sweep does it before it opens lanes: after hours without workers, the tokens still show
    since when they are stale. Lanes wait for it, so a sample that takes long is left out. Raises
    django.db.Error.
    """
    if not chores.take(SAMPLE, every=EVERY):
        return False
    with limited() as cursor:
        cursor.execute(
            _TAKE,
            {
                "looked_at": LOOKED_AT,
                "counted": freshness.COUNTED,
                "needed": settings.ACCESS_TOKEN_MINIMUM_SECONDS,
            },
        )
    return True


def budget() -> Budget:
    """What is left of the allowance of the last seven days. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(_USED, [WINDOW.total_seconds()])
        used, since = cursor.fetchone()
    allowed = (1 - OBJECTIVE) * WINDOW.total_seconds() / 60
    return Budget(allowed=allowed, used=used / 60, since=since)
