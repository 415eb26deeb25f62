"""Which event was the last at a moment: ids rise with time, so no index of times is needed.

An index of the times would cost each refresh an entry, for the sake of questions that are asked
after a refusal, once a round, or by an administrator.
"""

from datetime import timedelta

from django.db import connection

from spotify_auth.history.tables import EVENTS


def last_event_at(moment: str, *, table: str = EVENTS) -> str:
    """SQL for the id of the last event at or before a moment, an SQL expression.

    Less than any id if there is none so early.

    About thirty looks at the primary key, each at the event in the middle of what is left.
    """
    return f"""(
    WITH RECURSIVE search AS (
        SELECT coalesce((SELECT min(id) - 1 FROM {table}), 0) AS low,
               coalesce((SELECT max(id) FROM {table}), 0) AS high
        UNION ALL
        SELECT CASE WHEN later THEN low ELSE probe.id END,
               CASE WHEN later THEN middle - 1 ELSE high END
        FROM search, LATERAL (SELECT low + (high - low + 1) / 2 AS middle) AS halves,
             LATERAL (SELECT id, at > {moment} AS later FROM {table}
                      WHERE id >= middle ORDER BY id LIMIT 1) AS probe
        WHERE low < high
    )
    SELECT low FROM search WHERE low >= high
)"""  # noqa: S608  (constants of this app)


def last_event_ago(ago: timedelta) -> int:
    """The id of the last event that is so old; less than any if there is none."""
    with connection.cursor() as cursor:
        moment = "now() - make_interval(secs => %s)"
        cursor.execute(f"SELECT {last_event_at(moment)}", [ago.total_seconds()])
        return int(cursor.fetchone()[0])
