"""The history: whether routine events are folded in time."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import connection

from spotify_auth.conf import settings
from spotify_auth.doctor.findings import Finding, ok, warning
from spotify_auth.history import folding
from spotify_auth.history.tables import ROUTINE

LATE = 4 * folding.ROUND
"""A routine event is folded when it is twice as old as a round; then something is wrong."""

_OLDEST = f"SELECT now() - at FROM ONLY {ROUTINE} ORDER BY id LIMIT 1"  # noqa: S608  (a constant)


def look_at_history() -> Iterator[Finding]:
    """The oldest routine event that still has a row of its own."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        oldest = cursor.fetchone()
    age: timedelta = oldest[0] if oldest else timedelta(0)
    if age > LATE and not settings.ROUTINE_EVENT_DAILY_TABLES:
        yield warning(
            f"Routine events are not folded: the oldest is {age // timedelta(hours=1)} h old.",
            "They take ten times the disk. Look for spotify_auth.fold_history in the workers' "
            "logs, and whether the queue keeper is worked at.",
        )
    else:
        yield ok("Routine events are folded in time.")
