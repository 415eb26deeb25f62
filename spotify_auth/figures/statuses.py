"""How many tokens have each status, counted once a minute.

Nobody counts a million rows: active tokens are counted up to some number and estimated beyond
(`freshness.CONNECTED`), and the others have an index to themselves, in which a refresh leaves
nothing.
"""

from django.db import connection

from spotify_auth import freshness
from spotify_auth.conf import settings
from spotify_auth.figures.tables import StatusCount
from spotify_auth.models import SpotifyToken

SLEEPING = "sleeping"
"""Active tokens of users who were not seen for REFRESH_DORMANT_AFTER: let expire on purpose."""

# A token that is kept fresh is due within its lifetime; one that sleeps, half a year from now.
# A status that no token has any more is counted too: its row must say 0.
_COUNT = f"""
INSERT INTO spotify_auth_statuscount (status, tokens, counted_at)
SELECT status, sum(tokens), now() FROM (
    SELECT unnest(%(statuses)s::text[]) AS status, 0 AS tokens
    UNION ALL
    SELECT status, count(*) FROM spotify_auth_spotifytoken WHERE status <> 'active' GROUP BY status
    UNION ALL
    SELECT 'active', ({freshness.CONNECTED})
    UNION ALL
    SELECT '{SLEEPING}', count(*) FROM spotify_auth_spotifytoken
    WHERE status = 'active' AND due_at > now() + make_interval(secs => 2 * %(lifetime)s)
) AS found
GROUP BY status
ON CONFLICT (status) DO UPDATE SET tokens = excluded.tokens, counted_at = excluded.counted_at
"""  # noqa: S608  (every value is a parameter)


def count() -> None:
    """Count the tokens of each status, sleeping ones apart. Raises django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT,
            {
                "statuses": [*SpotifyToken.Status.values, SLEEPING],
                "counted": freshness.COUNTED,
                "lifetime": settings.ACCESS_TOKEN_LIFETIME_SECONDS,
            },
        )


def by_status() -> dict[str, int]:
    """The latest count; empty before the first. Raises django.db.Error."""
    return dict(StatusCount.objects.values_list("status", "tokens"))
