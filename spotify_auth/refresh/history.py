"""What the history of all tokens says about Spotify: the outage guard.

A Spotify outage once answered `invalid_grant` to nearly everybody, and cost a service
most of its users. And when nobody is answered, a million rows that each back off on
their own ask 18 times as often as they are refreshed. The history knows better
than a single answer does, so the guard needs no memory of its own.
"""

from django.db import connection

from spotify_auth.conf import settings
from spotify_auth.refresh.claims import Claim

LOOKED_AT = 1000
"""Events that are looked at, the newest first: enough for a share, and quick."""

FAILED_IN_A_ROW = 50
"""So many of the latest exchanges, all failed within a minute: nobody is answered."""

_RECENT = """
SELECT count(DISTINCT user_id) FILTER (
           WHERE outcome IN ('suspected', 'reconnect_required') AND user_id <> %(user_id)s),
       count(*) FILTER (WHERE outcome = 'refreshed')
FROM (
    SELECT outcome, user_id FROM spotify_auth_tokenevent
    WHERE at > now() - make_interval(secs => %(window)s)
    ORDER BY at DESC
    LIMIT %(looked_at)s
) AS recent
"""
_OTHERS_WERE_REFRESHED = """
SELECT EXISTS (SELECT FROM spotify_auth_tokenevent AS event
               WHERE event.at > token.suspected_at  -- for the index; the next says when it began
                 AND event.at - event.duration_ms * interval '1 millisecond' > token.suspected_at
                 AND event.outcome = 'refreshed' AND event.cause <> 'rescue'
                 AND event.user_id <> token.user_id)
    OR NOT EXISTS (SELECT FROM spotify_auth_spotifytoken AS other
                   WHERE other.user_id <> token.user_id AND other.status = 'active')
FROM spotify_auth_spotifytoken AS token
WHERE token.user_id = %s
"""
_LATEST = """
SELECT count(*) FROM (
    SELECT outcome, at FROM spotify_auth_tokenevent
    WHERE duration_ms IS NOT NULL
    ORDER BY id DESC
    LIMIT %s
) AS latest
WHERE outcome IN ('retry', 'answer_unknown') AND at > now() - interval '1 minute'
"""
_AN_ANSWER_WAS_LOST = """
SELECT EXISTS (SELECT FROM spotify_auth_tokenevent
               WHERE user_id = %s AND generation_before = %s
                 AND (outcome = 'answer_unknown' OR error = 'answer_lost'))
"""


def is_outage(claim: Claim) -> bool:
    """Whether so many people are refused, this one included, that the fault must be Spotify's.

    OUTAGE_GUARD_REFUSALS within OUTAGE_GUARD_WINDOW_SECONDS, and OUTAGE_GUARD_SHARE of
    all that were answered in that time. People count and not refusals: one who removed
    the app is refused again and again, and must not pause everybody.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _RECENT,
            {
                "user_id": claim.user_id,
                "window": settings.OUTAGE_GUARD_WINDOW_SECONDS,
                "looked_at": LOOKED_AT,
            },
        )
        others, refreshed = cursor.fetchone()
    refused = others + 1
    share = refused / (refused + refreshed)
    many: bool = refused >= settings.OUTAGE_GUARD_REFUSALS
    return many and bool(share >= settings.OUTAGE_GUARD_SHARE)


def nobody_is_answered() -> bool:
    """Whether the latest exchanges, this one included, have all failed."""
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [FAILED_IN_A_ROW - 1])
        before: int = cursor.fetchone()[0]
    return before == FAILED_IN_A_ROW - 1


def others_were_refreshed(claim: Claim) -> bool:
    """Whether Spotify has served somebody else since it first refused this token.

    This guards also a service with so few users that no number of refusals is "many".
    Who is alone is believed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS_WERE_REFRESHED, [claim.user_id])
        return bool(cursor.fetchone()[0])


def an_answer_was_lost(claim: Claim) -> bool:
    """Whether an earlier attempt on this generation got no answer, as the history has it.

    Redis knows of more, an attempt whose worker was killed for one, but may forget.
    """
    with connection.cursor() as cursor:
        cursor.execute(_AN_ANSWER_WAS_LOST, [claim.user_id, claim.generation])
        return bool(cursor.fetchone()[0])
