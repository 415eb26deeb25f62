"""What a restored backup has, and what Redis has beside it: counted before anything is changed."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from spotify_auth.maintenance import newer_grants

A_SECOND = 100
"""Tokens that are kept become due at this rate per second, not all of them at once."""

_SURVEY = """
SELECT count(*) FILTER (WHERE old AND status IN ('active', 'paused')),
       count(*) FILTER (WHERE old AND status = 'active' AND due_at <= now()),
       count(*) FILTER (WHERE old AND status = 'reconnect_required' AND appeal_at IS NOT NULL),
       count(*) FILTER (WHERE NOT old AND status IN ('active', 'paused', 'reconnect_required')),
       max(refreshed_at) FILTER (WHERE old), min(refreshed_at) FILTER (WHERE NOT old), now()
FROM (SELECT *, refreshed_at <= %(backup_at)s AS old FROM spotify_auth_spotifytoken) AS token
"""
# A folded event is as many refreshes as its generation rose by.
_ROTATED = """
SELECT coalesce(sum(refreshes) FILTER (WHERE rotated), 0), coalesce(sum(refreshes), 0)
FROM spotify_auth_tokenevent, LATERAL (
    SELECT greatest(generation_after - generation_before, 1) AS refreshes
) AS counted
WHERE at BETWEEN %(backup_at)s - interval '1 day' AND %(backup_at)s AND outcome = 'refreshed'
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What is there, before anything is changed."""

    connected: int
    """Active and paused tokens that are from the backup."""
    due: int
    """Those of them that are due."""
    appeals: int
    """Verdicts of the backup that would be appealed."""
    newer: int
    """Tokens that were stored after the backup's moment."""
    newest_old: datetime | None
    oldest_newer: datetime | None
    now: datetime
    rotated: int
    refreshed: int
    """Refreshes in the backup's last day; `rotated` of them brought a new refresh token."""
    saved: int
    """Grants in Redis that will be stored over tokens of the backup."""
    unreadable: int
    """Grants in Redis that no key here opens, or that another version wrote."""

    @property
    def spread(self) -> float:
        """Seconds over which due tokens that are kept are spread."""
        return self.due / A_SECOND


def survey(backup_at: datetime, *, not_rotated: bool) -> Survey:
    """Look, and change nothing. Raises django.db.Error and redis.RedisError."""
    with connection.cursor() as cursor:
        cursor.execute(_SURVEY, {"backup_at": backup_at})
        row = cursor.fetchone()
        cursor.execute(_ROTATED, {"backup_at": backup_at})
        rotated, refreshed = cursor.fetchone()
    found = list(newer_grants.newest())
    usable = [
        each for each in found if newer_grants.row_for(each, backup_at, not_rotated=not_rotated)
    ]
    return Survey(
        connected=row[0],
        due=row[1],
        appeals=row[2],
        newer=row[3],
        newest_old=row[4],
        oldest_newer=row[5],
        now=row[6],
        rotated=rotated,
        refreshed=refreshed,
        saved=len(usable),
        unreadable=sum(each.saved is None for each in found),
    )
