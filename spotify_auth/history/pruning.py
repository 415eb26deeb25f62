"""Deleting what is too old, step by step along the primary key, and never twice at one place.

Each step looks at the next events behind the mark of the one before, deletes those of its kind,
and moves the mark, in one transaction. Evidence among routine events is stepped over once and not
every hour for 400 days, and so are the dead entries that a step leaves in the index. Nothing is
deleted that is not counted (`figures.roll_up`).
"""

from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from spotify_auth.conf import settings
from spotify_auth.history.moments import last_event_at
from spotify_auth.history.tables import EVENTS, FOLDED, IS_ROUTINE, MAKE_MARK

STEP = 5000
"""Events that one transaction looks at."""
MOST_DAYS = 36_500
"""Who writes more than a hundred years means for ever: a moment that lies so far back is an error
to PostgreSQL and to Python, and house-keeping would come to a stop."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the history with an age of its own."""

    table: str
    mark: str
    """The column of HistoryMark that says how far it is pruned."""
    setting: str
    """Days for which it is kept."""
    condition: str = "true"


PARTS: Final = (
    Part(EVENTS, "all_to", "TOKEN_EVENT_RETENTION_DAYS"),
    Part(FOLDED, "folded_to", "ROUTINE_EVENT_RETENTION_DAYS"),
    # The previous version's.
    Part(EVENTS, "routine_to", "ROUTINE_EVENT_RETENTION_DAYS", IS_ROUTINE),
)

_MARK = "SELECT {mark} FROM spotify_auth_historymark FOR UPDATE"
_AHEAD = "(at > statement_timestamp() + interval '1 day')"
# Ids rise with time, but not to the millisecond: a step ends before the first event that is neither
# too old nor a day ahead. What lies ahead was written while the database's clock did, and is as old
# as what follows it; or the clock has been set back, and then nothing that follows is too old.
_NEXT = f"""
WITH looked_at AS (
    SELECT id, at < statement_timestamp() - make_interval(days => %(days)s) AS old,
           {_AHEAD} AS ahead
    FROM ONLY {{table}}
    WHERE id > %(after)s AND id <= (SELECT counted_to FROM spotify_auth_rolledup)
    ORDER BY id LIMIT %(step)s
), young AS (
    SELECT min(id) AS id FROM looked_at WHERE NOT old AND NOT ahead
)
SELECT max(id) FILTER (WHERE old AND (id > (SELECT id FROM young)) IS NOT TRUE), max(id),
       bool_and(ahead), count(*)
FROM looked_at
"""  # noqa: S608  (constants of this app)
_WHAT_FOLLOWS_IS_OLD = f"""
SELECT at < statement_timestamp() - make_interval(days => %(days)s) FROM ONLY {{table}}
WHERE id > %(last)s AND NOT {_AHEAD} ORDER BY id LIMIT 1
"""  # noqa: S608
_HOW_MANY = """
SELECT count(*) FROM ONLY {table} WHERE id > %(after)s AND id <= %(last)s AND {condition}
"""
_DELETE = """
DELETE FROM ONLY {table} WHERE id > %(after)s AND id <= %(last)s AND {condition}
"""
_MOVE = "UPDATE spotify_auth_historymark SET {mark} = %(last)s"


def prune_some(part: Part, *, older_than: int | None = None) -> tuple[int, bool]:
    """One step: how many events were deleted, and whether there may be more.

    `older_than` days, by default its setting. Raises django.db.Error.
    """
    days = _days(part, older_than)
    names = {"mark": part.mark, "table": part.table, "condition": part.condition}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MAKE_MARK)
        cursor.execute(_MARK.format(**names))
        (after,) = cursor.fetchone()
        parameters = {"after": after, "step": STEP, "days": days}
        cursor.execute(_NEXT.format(**names), parameters)
        parameters["last"], last_looked_at, all_ahead, looked_at = cursor.fetchone()
        if all_ahead:
            parameters["last"] = last_looked_at
            cursor.execute(_WHAT_FOLLOWS_IS_OLD.format(**names), parameters)
            if cursor.fetchone() != (True,):
                return 0, False
        if parameters["last"] is None:
            return 0, False
        cursor.execute(_DELETE.format(**names), parameters)
        deleted: int = cursor.rowcount
        cursor.execute(_HOW_MANY.format(**names), parameters)
        if cursor.fetchone()[0]:
            # PostgreSQL keeps some (docs/how-to/make-the-history-append-only.md): they are for a
            # later hour.
            return deleted, False
        cursor.execute(_MOVE.format(**names), parameters)
    return deleted, looked_at == STEP


_MOMENT = "statement_timestamp() - make_interval(days => %(days)s)"
_COUNT = """
SELECT count(*) FROM ONLY {table}
WHERE id > greatest(%(counted)s, (SELECT coalesce(max({mark}), 0) FROM spotify_auth_historymark))
  AND id <= %(last)s AND {condition}
"""


def count_old(*, older_than: int | None = None) -> int:
    """How many events are too old, almost exactly, each once. Raises django.db.Error."""
    total, counted = 0, dict.fromkeys((part.table for part in PARTS), 0)
    with connection.cursor() as cursor:
        for part in PARTS:
            last_old = last_event_at(_MOMENT, table=f"ONLY {part.table}")
            cursor.execute(f"SELECT {last_old}", {"days": _days(part, older_than)})
            (last,) = cursor.fetchone()
            names = {"table": part.table, "mark": part.mark, "condition": part.condition}
            parameters = {"counted": counted[part.table], "last": last}
            cursor.execute(_COUNT.format(**names), parameters)
            total += cursor.fetchone()[0]
            counted[part.table] = last
    return total


def _days(part: Part, older_than: int | None) -> int:
    days = int(getattr(settings, part.setting)) if older_than is None else older_than
    return min(days, MOST_DAYS)
