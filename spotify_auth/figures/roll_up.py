"""The history, counted into `EventCount` as it grows: each event exactly once.

Routine successes lie in a table of their own (`history`), with ids from the same sequence.

An event gets its id before it is committed, so a higher id may be seen before a lower one.
Whoever inserts one holds a lock on the table from before it gets the id until its commit.
So a step first picks the last id that it sees, then waits until everybody is gone who held
that lock at this moment: from then on no id up to the picked one is still to come. (CREATE INDEX
CONCURRENTLY waits for writers in the same way.)

The counts and the mark of how far they reach change in one transaction, under the mark's row
lock: a worker that is killed in the middle has counted nothing, and two count nothing twice.
The counts need the history no more: they outlive its pruning.
"""

import time
from datetime import timedelta

from django.db import connection, transaction

from spotify_auth import chores
from spotify_auth.figures.latency import BOUNDS_MS
from spotify_auth.history.tables import EVENTS, ROUTINE

STEP = 50_000
"""Events that one transaction counts, at most: after a night without workers it takes many."""
WAIT_SECONDS = 2.0
"""How long a step waits for whoever is inserting. Then it leaves the rest to the next one."""
MINUTES_KEPT = timedelta(days=7)
"""For how long counts by the minute are kept. Those by the hour are kept for ever."""

_WRITTEN_TO = f"'{EVENTS}'::regclass, '{ROUTINE}'::regclass"
_FIRST = "INSERT INTO spotify_auth_rolledup (id) VALUES (1) ON CONFLICT DO NOTHING"
_PICK = f"""
SELECT max(id) FROM (
    SELECT id FROM {EVENTS} WHERE id > (SELECT counted_to FROM spotify_auth_rolledup)
    ORDER BY id LIMIT %s
) AS next_ones
"""  # noqa: S608  (a constant)
# Neither readers nor a vacuum hold this lock.
_WRITERS = f"""
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation IN ({_WRITTEN_TO})
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND granted AND pid IS DISTINCT FROM pg_backend_pid()
"""  # noqa: S608
_MARK = "SELECT counted_to FROM spotify_auth_rolledup FOR UPDATE SKIP LOCKED"
_BUCKETS = ", ".join(
    f"coalesce(sum(exchanges) FILTER (WHERE bucket = {place}), 0)"
    for place in range(len(BOUNDS_MS) + 1)
)
# A bound belongs to the bucket below it, as in Prometheus. What was stored after a failure of
# PostgreSQL, and what no key opens, asked Spotify nothing.
_COUNT = f"""
WITH by_minute AS (
    SELECT date_trunc('minute', at, 'UTC') AS minute, outcome, bucket, count(*) AS events,
           count(*) FILTER (WHERE rotated) AS rotated, count(bucket) AS exchanges,
           coalesce(sum(duration_ms) FILTER (WHERE bucket IS NOT NULL), 0) AS milliseconds
    FROM {EVENTS}, LATERAL (
        SELECT CASE WHEN cause <> 'rescue' AND error <> 'undecryptable'
                    THEN width_bucket(duration_ms - 1, %(bounds)s::int[]) END
    ) AS timed (bucket)
    WHERE id > %(after)s AND id <= %(last)s
    GROUP BY 1, 2, 3
)
INSERT INTO spotify_auth_eventcount AS known
    (span, begins_at, outcome, events, rotated, exchanges, milliseconds, buckets)
SELECT span, begins_at, outcome, sum(events), sum(rotated), sum(exchanges), sum(milliseconds),
       ARRAY[{_BUCKETS}]::bigint[]
FROM by_minute, LATERAL (
    VALUES ('minute', minute), ('hour', date_trunc('hour', minute, 'UTC')),
           ('ever', '1970-01-01T00:00Z')
) AS spans (span, begins_at)
WHERE span <> 'minute' OR minute > now() - make_interval(secs => %(minutes_kept)s)
GROUP BY span, begins_at, outcome
ORDER BY span, begins_at, outcome
ON CONFLICT (span, begins_at, outcome) DO UPDATE SET
    events = known.events + excluded.events,
    rotated = known.rotated + excluded.rotated,
    exchanges = known.exchanges + excluded.exchanges,
    milliseconds = known.milliseconds + excluded.milliseconds,
    buckets = (SELECT array_agg(old + new ORDER BY place)
               FROM unnest(known.buckets, excluded.buckets) WITH ORDINALITY AS b (old, new, place))
"""  # noqa: S608
_MOVE = "UPDATE spotify_auth_rolledup SET counted_to = %s"
_NOTHING_LEFT = "UPDATE spotify_auth_rolledup SET at = clock_timestamp()"


def roll_up() -> bool:
    """Count all events that are not counted yet. Raises django.db.Error.

    False if some are left: this process was told to stop, another one is counting, or somebody
    has been inserting for long.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FIRST)
    while (last := _pick()) is not None:
        if chores.stopping.is_set() or not _wait_for_writers() or not _count(last):
            return False
    with connection.cursor() as cursor:
        cursor.execute(_NOTHING_LEFT)
    return True


def _pick() -> int | None:
    """The last event of the next step; None if all are counted."""
    with connection.cursor() as cursor:
        cursor.execute(_PICK, [STEP])
        last: int | None = cursor.fetchone()[0]
    return last


def _wait_for_writers() -> bool:
    """Wait until all who are inserting at this moment have ended; False if they take too long."""
    give_up = time.monotonic() + WAIT_SECONDS
    writing = _writers()
    while writing:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
        writing &= _writers()
    return True


def _writers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return {transaction_id for (transaction_id,) in cursor.fetchall()}


def _count(last: int) -> bool:
    """Count the events up to this one, in one transaction; False if another worker is counting."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MARK)
        mark = cursor.fetchone()
        if mark is None:
            return False
        if mark[0] < last:  # else another worker has counted them since
            cursor.execute(
                _COUNT,
                {
                    "after": mark[0],
                    "last": last,
                    "bounds": list(BOUNDS_MS),
                    "minutes_kept": MINUTES_KEPT.total_seconds(),
                },
            )
            cursor.execute(_MOVE, [last])
    return True
