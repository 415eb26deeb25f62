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


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the history with an age of its own."""

    name: str
    table: str
    mark: str
    """The column of HistoryMark that says how far it is pruned."""
    setting: str
    """Days for which it is kept."""
    condition: str = "true"


PARTS: Final = (
    Part("all events", EVENTS, "all_to", "TOKEN_EVENT_RETENTION_DAYS"),
    Part("folded routine events", FOLDED, "folded_to", "ROUTINE_EVENT_RETENTION_DAYS"),
    Part(
        *("routine events of the previous version", EVENTS, "routine_to"),
        *("ROUTINE_EVENT_RETENTION_DAYS", IS_ROUTINE),
    ),
)

_MARK = "SELECT {mark} FROM spotify_auth_historymark FOR UPDATE"
# Ids rise with time, but not to the millisecond: the step ends before the first that is not too
# old. What lies a day ahead was written while the database's clock did: its neighbours tell.
_OLD = """
(at < statement_timestamp() - make_interval(days => %(days)s)
 OR at > statement_timestamp() + interval '1 day')
"""
_NEXT = f"""
SELECT coalesce(min(id) FILTER (WHERE NOT {_OLD}) - 1, max(id)), count(*)
FROM (
    SELECT id, at FROM ONLY {{table}}
    WHERE id > %(after)s AND id <= (SELECT counted_to FROM spotify_auth_rolledup)
    ORDER BY id LIMIT %(step)s
) AS next_ones
"""  # noqa: S608  (constants of this app)
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
        parameters["last"], looked_at = cursor.fetchone()
        if parameters["last"] is None or parameters["last"] <= after:
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


_COUNT = """
SELECT count(*) FROM ONLY {table}
WHERE id > (SELECT coalesce(max({mark}), 0) FROM spotify_auth_historymark)
  AND id <= {last} AND {condition}
"""


def count_old(part: Part, *, older_than: int | None = None) -> int:
    """How many events are too old, almost exactly. Raises django.db.Error."""
    moment = "statement_timestamp() - make_interval(days => %(days)s)"
    sql = _COUNT.format(
        table=part.table,
        mark=part.mark,
        last=last_event_at(moment, table=f"ONLY {part.table}"),
        condition=part.condition,
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, {"days": _days(part, older_than)})
        return int(cursor.fetchone()[0])


def _days(part: Part, older_than: int | None) -> int:
    return int(getattr(settings, part.setting)) if older_than is None else older_than
