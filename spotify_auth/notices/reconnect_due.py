"""Noticing that the six months are nearly over: 30, 7 and 1 days ahead, each once."""

from datetime import datetime
from typing import Final

from django.db import connection, transaction

from spotify_auth import chores
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft, Written
from spotify_auth.sentences import why_reconnect_due

AT_ONCE = 1000
"""Notices in one transaction."""

_SENTENCES: Final = {f"sentence_{days}": why_reconnect_due(days) for days in (30, 7, 1)}

# Whoever comes late, since nothing ran for days, is told the most urgent only.
_NOTICE = f"""
WITH due AS (
    SELECT user_id, generation, reauthorize_by,
           CASE WHEN reauthorize_by < now() + interval '1 day' THEN 1
                WHEN reauthorize_by < now() + interval '7 days' THEN 7
                ELSE 30 END AS days
    FROM spotify_auth_spotifytoken
    WHERE status = 'active' AND authorized_at_known
      AND reauthorize_by BETWEEN now() AND now() + interval '30 days'
), named AS (
    SELECT *, '{Kind.RECONNECT_DUE} ' || user_id || ' ' || days || ' '
           || extract(epoch FROM reauthorize_by) AS name
    FROM due
), written AS (
    INSERT INTO spotify_auth_notice (kind, at, user_id, once, data)
    SELECT '{Kind.RECONNECT_DUE}', clock_timestamp(), user_id, name, jsonb_build_object(
        'user_id', user_id, 'generation', generation, 'status', 'active', 'days', days,
        'reauthorize_by', reauthorize_by, 'reason', 'six_months_over',
        'sentence', CASE days WHEN 1 THEN %(sentence_1)s WHEN 7 THEN %(sentence_7)s
                              ELSE %(sentence_30)s END)
    FROM named WHERE NOT EXISTS (SELECT FROM spotify_auth_notice WHERE once = name)
    LIMIT %(at_once)s
    ON CONFLICT (once) DO NOTHING
    RETURNING id, at, once
)
SELECT id, at, user_id, generation, days, reauthorize_by FROM written JOIN named ON once = name
"""  # noqa: S608  (constants of this app)


def notice_all() -> int:
    """Write what is due, and send the signals; how many there were. Raises django.db.Error.

    Ends early when this process is told to stop: the rest is for the next call.
    """
    count = 0
    while not chores.stopping.is_set():
        found = _notice_some()
        count += found
        if found < AT_ONCE:
            break
    return count


@transaction.atomic
def _notice_some() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_NOTICE, {**_SENTENCES, "at_once": AT_ONCE})
        rows = cursor.fetchall()
    for notice_id, at, *about in rows:
        outbox.announce(_draft(*about), Written(notice_id, at))
    return len(rows)


def _draft(user_id: int, generation: int, days: int, reauthorize_by: datetime) -> Draft:
    return Draft(
        kind=Kind.RECONNECT_DUE,
        user_id=user_id,
        reason="six_months_over",
        sentence=why_reconnect_due(days),
        further={
            "generation": generation,
            "status": "active",
            "days": days,
            "reauthorize_by": reauthorize_by,
        },
    )
