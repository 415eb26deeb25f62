"""Routine events that are hours old become a row for each user and day.

A user's refreshes follow one another: their generations do, and their times can be told by what
lies between them. So a run of them is one row, with two numbers for each: 14 bytes a refresh and
not 160. In a round all users come in their turn, in steps of some thousands of events, each its own
transaction: whoever is killed in the middle of a step has changed nothing, and the next one goes
on behind the last user. A step begins at that user's entry of the index, so it steps over nothing
that an earlier one left dead.

Only what is counted (`figures.roll_up`) is folded: nothing is counted twice, or never.
"""

import time
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from spotify_auth import chores
from spotify_auth.conf import settings
from spotify_auth.history.moments import last_event_at
from spotify_auth.history.tables import FOLDED, MAKE_MARK, ROUTINE

ROUND = timedelta(hours=6)
"""How old an event is at least when it is folded, and how often a round begins: events of 6 to 12
hours are there each with a row of its own. Pages draw six lifetimes, of an hour each."""
STEP = 5000
"""Events in one transaction, about."""
A_DAY = timedelta(days=1)
"""How long a folded row goes on growing."""
AT_ONCE_SECONDS = 45.0
"""How long the chore, once a minute, goes on with a round. It rests for most of that."""


def _milliseconds(seconds: str) -> str:
    """SQL for seconds as an integer of milliseconds, however far a clock was set."""
    return f"least(greatest(round(1000 * {seconds}), -2e9), 2e9)::int"


_BEGIN = f"""
UPDATE spotify_auth_historymark SET
    round_at = clock_timestamp(), round_is_over = false, folded_user = '',
    fold_to = least(
        {last_event_at("clock_timestamp() - %(round)s", table=ROUTINE)},
        coalesce((SELECT counted_to FROM spotify_auth_rolledup), 0)
    )
WHERE round_is_over
  AND (round_at IS NULL OR round_at NOT BETWEEN clock_timestamp() - %(round)s AND clock_timestamp())
"""  # noqa: S608  (constants of this app)
_MARK = """
SELECT folded_user, fold_to FROM spotify_auth_historymark
WHERE NOT round_is_over FOR UPDATE SKIP LOCKED
"""
# In the order of the index and not of the text: without the table's name ORDER BY means what is
# selected, so that each step would sort all that is left, and user 1056 would come before 2.
_LAST_USER = f"""
SELECT user_id::text FROM {ROUTINE} AS event WHERE {{behind}}
ORDER BY event.user_id, event.id DESC OFFSET %(step)s LIMIT 1
"""  # noqa: S608
# Somebody who is being deleted has no token any more, or the foreign key says so in the end.
# Refreshes follow one another if the generation rises by one: then it minus the row's number stays.
# Each is two numbers: milliseconds since the one before, and how long its exchange took. A clock
# that was set by weeks may give a number that no column takes.
_FOLD = f"""
WITH gone AS (
    DELETE FROM {ROUTINE} AS event WHERE {{users}} AND id <= %(fold_to)s
    RETURNING id, user_id, at, generation_after AS generation, rotated, lifetime_granted,
              lifetime_used, duration_ms
), numbered AS (
    SELECT *, generation - row_number() OVER (
        PARTITION BY user_id, rotated, lifetime_granted ORDER BY generation
    ) AS run
    FROM gone WHERE EXISTS (SELECT FROM spotify_auth_spotifytoken AS token
                            WHERE token.user_id = gone.user_id)
), spaced AS (
    SELECT *, coalesce(extract(epoch FROM at - lag(at) OVER (
        PARTITION BY user_id, rotated, lifetime_granted, run ORDER BY generation
    )), 0) AS waited
    FROM numbered
), runs AS (
    SELECT user_id, rotated, lifetime_granted, max(id) AS id,
           min(generation) - 1 AS generation_before, max(generation) AS generation_after,
           (array_agg(at ORDER BY generation))[1] AS began_at,
           (array_agg(at ORDER BY generation DESC))[1] AS at,
           (array_agg(lifetime_used ORDER BY generation DESC))[1] AS lifetime_used,
           (array_agg(duration_ms ORDER BY generation DESC))[1] AS duration_ms,
           array_agg(number ORDER BY generation, place) AS refreshes
    FROM spaced, LATERAL (VALUES (1, {_milliseconds("waited")}), (2, duration_ms))
        AS numbers (place, number)
    GROUP BY user_id, rotated, lifetime_granted, run
), extended AS (
    UPDATE {FOLDED} AS folded SET
        id = runs.id, at = runs.at, generation_after = runs.generation_after,
        lifetime_used = runs.lifetime_used, duration_ms = runs.duration_ms,
        refreshes = folded.refreshes
            || {_milliseconds("extract(epoch FROM runs.began_at - folded.at)")}
            || runs.refreshes[2:]
    FROM runs
    WHERE folded.user_id = runs.user_id
      AND folded.generation_after = runs.generation_before
      AND folded.rotated = runs.rotated
      AND folded.lifetime_granted = runs.lifetime_granted
      AND runs.at BETWEEN folded.began_at AND folded.began_at + %(a_day)s
    RETURNING runs.user_id, runs.generation_after
), inserted AS (
    INSERT INTO {FOLDED} (
        id, user_id, at, generation_before, generation_after, rotated, lifetime_granted,
        lifetime_used, duration_ms, began_at, refreshes)
    SELECT id, user_id, at, generation_before, generation_after, rotated, lifetime_granted,
           lifetime_used, duration_ms, began_at, refreshes
    FROM runs WHERE (user_id, generation_after) NOT IN (SELECT * FROM extended)
    RETURNING id
)
SELECT (SELECT count(*) FROM gone), (SELECT min(id) FROM inserted)
"""  # noqa: S608
# What is folded late, after days without workers, may lie before the mark of what is pruned.
_MOVE = """
UPDATE spotify_auth_historymark SET
    folded_user = %(last)s, round_is_over = %(is_over)s, folded_to = least(folded_to, %(first)s - 1)
"""


def fold() -> int:
    """Go on with the present round, for AT_ONCE_SECONDS at most; how many events were folded.

    Raises django.db.Error.
    """
    if settings.ROUTINE_EVENT_DAILY_TABLES:
        return 0  # `daily_tables`
    folded, more, give_up = 0, True, time.monotonic() + AT_ONCE_SECONDS
    while more and time.monotonic() < give_up and not chores.stopping.is_set():
        with chores.unhurried():
            some, more = fold_some()
        folded += some
    return folded


def fold_some() -> tuple[int, bool]:
    """Fold one step, of the present round or of one that is due: how many events, whether more.

    Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(MAKE_MARK)
        parameters: dict[str, Any] = {"round": ROUND}
        cursor.execute(_BEGIN, parameters)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MARK)
        mark = cursor.fetchone()
        if mark is None:
            return 0, False  # no round is due, or another worker folds
        after, fold_to = mark
        behind = "user_id > %(user)s" if after else "true"
        cursor.execute(_LAST_USER.format(behind=behind), {"user": after, "step": STEP})
        last = cursor.fetchone()
        users = behind + (" AND user_id <= %(last)s" if last else "")
        parameters = {
            "user": after,
            "last": last[0] if last else "",
            "fold_to": fold_to,
            "a_day": A_DAY,
            "is_over": last is None,
        }
        cursor.execute(_FOLD.format(users=users), parameters)
        folded, parameters["first"] = cursor.fetchone()
        cursor.execute(_MOVE, parameters)
    return folded, last is not None
