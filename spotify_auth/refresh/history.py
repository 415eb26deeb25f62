"""What the history of all tokens says about a failed exchange: the outage guard.

A Spotify outage once answered `invalid_grant` to nearly everybody, and cost a service
most of its users. And when nobody is answered, a million rows that each back off on
their own ask 18 times as often as they are refreshed. The history knows better
than a single answer does, so the guard needs no memory of its own.
"""

from dataclasses import dataclass

from django.db import connection

from spotify_auth.accounts_service.answers import AnswerLost, Refused, Unavailable, Unreadable
from spotify_auth.conf import settings
from spotify_auth.refresh.claims import Claim

LOOKED_AT = 1000
"""How many of the newest events are counted: enough for a share, and quick."""

FAILED_IN_A_ROW = 50
"""When this many of the latest exchanges failed, all within a minute, nobody is answered."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known beside an answer, as far as the answer makes it matter."""

    outage: bool = False
    """So many users are refused, this one included, that the fault must be Spotify's."""
    others_were_refreshed: bool = False
    """Spotify has served another user since it first refused this token."""
    nobody_is_answered: bool = False
    """The latest exchanges, this one included, have all failed."""
    lost_just_now: bool = False
    """This attempt lost an answer: Spotify may have rotated."""
    answer_was_lost: bool = False
    """This attempt, or an earlier one on this generation, lost an answer."""


def evidence(
    claim: Claim, answer: object, *, lost_just_now: bool = False, lost_before: bool = False
) -> Evidence:
    """What is known beside this answer. Asks PostgreSQL only after a refusal or a failure.

    `lost_before`: Redis knows of an earlier attempt that lost its answer. Redis knows of
    more than the history does, for example of a worker that was killed, but may forget.
    """
    lost = lost_just_now or lost_before
    match answer:
        case Refused():
            return Evidence(
                outage=_is_outage(claim),
                others_were_refreshed=claim.suspected and _others_were_refreshed(claim),
                lost_just_now=lost_just_now,
                answer_was_lost=lost or _an_answer_was_lost(claim),
            )
        case Unavailable() | Unreadable() | AnswerLost():
            return Evidence(
                nobody_is_answered=_nobody_is_answered(),
                lost_just_now=lost_just_now,
                answer_was_lost=lost,
            )
        case _:
            return Evidence(lost_just_now=lost_just_now, answer_was_lost=lost)


def _is_outage(claim: Claim) -> bool:
    """OUTAGE_GUARD_REFUSALS within OUTAGE_GUARD_WINDOW_SECONDS, and OUTAGE_GUARD_SHARE of
    all that were answered in that time. Users count and not refusals: a user who removed
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


def _nobody_is_answered() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [FAILED_IN_A_ROW - 1])
        before: int = cursor.fetchone()[0]
    return before == FAILED_IN_A_ROW - 1


def _others_were_refreshed(claim: Claim) -> bool:
    """This also protects services with too few users to reach OUTAGE_GUARD_REFUSALS.

    With a single user there is nobody to compare with, so the refusal counts.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS_WERE_REFRESHED, [claim.user_id])
        return bool(cursor.fetchone()[0])


def _an_answer_was_lost(claim: Claim) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_AN_ANSWER_WAS_LOST, [claim.user_id, claim.generation])
        return bool(cursor.fetchone()[0])
