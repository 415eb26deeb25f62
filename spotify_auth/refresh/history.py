"""What the history of all tokens says about a failed exchange.

A Spotify outage once answered `invalid_grant` to nearly everybody, and cost a service most of
its users. And when nobody is answered, a million rows that each back off on their own ask 18
times as often as they are refreshed. The history knows better than a single answer does, so
no guard needs a memory of its own.
"""

from dataclasses import dataclass, replace

from django.db import connection

from spotify_auth.accounts_service.answers import (
    CLIENT_ERRORS,
    AnswerLost,
    ClientRefused,
    Refused,
    Unavailable,
    Unreadable,
)
from spotify_auth.conf import settings
from spotify_auth.history.moments import last_event_at
from spotify_auth.history.tables import EVENTS
from spotify_auth.refresh.claims import Claim

SAMPLE = 500
"""How many events are looked at, at most: the newest, and as many on either side of the first
refusal. A service with fewer events since then is looked at whole."""
SHORTLY_BEFORE_SECONDS = 60.0

FAILED_IN_A_ROW = 50
"""When this many of the latest exchanges failed, all within a minute, nobody is answered."""

CLIENTS_REFUSED = 3
"""When the latest exchanges of this many tokens met errors of the client, all within a minute
and with no grant between them, it is our credentials that are refused."""
CLIENT_REFUSED_HOURS = 6
"""A single token that Spotify refuses like that for this long, while it serves others, is dead."""

# Users and not events count: a user who removed the app is refused again and again. Refusals
# that our own record expects and appeals against old verdicts are no sign of an outage. Nor is
# what has no duration: Spotify was not asked, but an operator has judged the token.
# Failures lie in the parent table alone (`spotify_auth.history`); successes in its children too.
_REFUSALS = f"""
WITH token AS (
    SELECT coalesce(suspected_at, now()) AS refused_at FROM spotify_auth_spotifytoken
    WHERE user_id = %(user_id)s
), refusal AS (
    SELECT refused_at, {last_event_at("refused_at")} AS event_id FROM token
), newest AS (
    SELECT * FROM {EVENTS} ORDER BY id DESC LIMIT %(sample)s
), after AS (
    SELECT * FROM {EVENTS} WHERE id > (SELECT event_id FROM refusal) ORDER BY id LIMIT %(sample)s
), before AS (
    SELECT * FROM {EVENTS} WHERE id <= (SELECT event_id FROM refusal)
    ORDER BY id DESC LIMIT %(sample)s
), sample AS (
    SELECT id, user_id, outcome, error, cause, duration_ms FROM refusal, (
        SELECT * FROM newest UNION ALL SELECT * FROM after UNION ALL SELECT * FROM before
    ) AS events
    WHERE at > refused_at - make_interval(secs => %(before)s)
), answers AS (
    SELECT user_id, outcome <> 'refreshed' AS refused FROM sample
    WHERE user_id <> %(user_id)s AND error <> 'six_months_over' AND cause <> 'appeal'
      AND duration_ms IS NOT NULL
      AND outcome IN ('refreshed', 'suspected', 'reconnect_required')
)
SELECT count(DISTINCT user_id) FILTER (WHERE refused), count(DISTINCT user_id),
       (SELECT count(*) FROM ONLY {EVENTS}, token
        WHERE user_id = %(user_id)s AND outcome = 'suspected' AND at >= refused_at)
FROM answers
"""  # noqa: S608  (constants of this app)
_LATEST = f"""
SELECT count(*) FROM (
    SELECT outcome, at FROM {EVENTS}
    WHERE duration_ms IS NOT NULL
    ORDER BY id DESC
    LIMIT %s
) AS latest
WHERE outcome IN ('retry', 'answer_unknown') AND at > now() - interval '1 minute'
"""  # noqa: S608  (constants of this app)
_AN_ANSWER_WAS_LOST = f"""
SELECT EXISTS (SELECT FROM ONLY {EVENTS}
               WHERE user_id = %s AND generation_before = %s
                 AND (outcome = 'answer_unknown' OR error = 'answer_lost'))
"""  # noqa: S608  (constants of this app)
_CLIENTS_REFUSED = f"""
SELECT user_id, outcome = 'refreshed', error = ANY(%s) FROM (
    SELECT id, user_id, outcome, error, at FROM {EVENTS}
    WHERE duration_ms IS NOT NULL
    ORDER BY id DESC
    LIMIT 50
) AS latest
WHERE at > now() - interval '1 minute'
ORDER BY id DESC
"""  # noqa: S608  (constants of this app)
_CLIENT_REFUSED_FOR = f"""
SELECT extract(epoch FROM now() - min(mine.at))::float,
       EXISTS (SELECT FROM {EVENTS} AS other
               WHERE other.id > {last_event_at("now() - interval '10 minutes'")}
                 AND other.outcome = 'refreshed')
FROM ONLY {EVENTS} AS mine
WHERE mine.user_id = %s AND mine.generation_before = %s AND mine.error = ANY(%s)
"""  # noqa: S608  (constants of this app)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusals:
    """Who was refused, as the history counts them; see `Evidence`."""

    others_refused: int
    others_answered: int
    refused_before: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known beside an answer, as far as the answer makes it matter."""

    refused_before: int = 0
    """How often this token was refused since its last grant, this time left out."""
    others_refused: int = 0
    others_answered: int = 0
    """Other users who were refused, and who were answered at all, since shortly before this
    token's first refusal; a sample of them in a large service."""
    refusals_are_rare: bool = True
    """So few others are refused that this refusal is likely to mean what it says."""
    held_too_long: bool = False
    """The token was held for OUTAGE_GUARD_LONGEST_SECONDS because refusals were not rare."""
    clients_are_refused: bool = False
    """The latest exchanges of several tokens, this one included, met errors of the client."""
    client_refused_too_long: bool = False
    """This token has met such errors for hours, while Spotify served others."""
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
            seen = weigh_refusals(claim, _count_refusals(claim))
            return replace(
                seen,
                lost_just_now=lost_just_now,
                answer_was_lost=lost or _an_answer_was_lost(claim),
            )
        case ClientRefused():
            return Evidence(
                clients_are_refused=_clients_are_refused(claim),
                client_refused_too_long=_client_refused_too_long(claim),
                lost_just_now=lost_just_now,
                answer_was_lost=lost,
            )
        case Unavailable() | Unreadable() | AnswerLost():
            return Evidence(
                nobody_is_answered=_nobody_is_answered(),
                lost_just_now=lost_just_now,
                answer_was_lost=lost,
            )
        case _:
            return Evidence(lost_just_now=lost_just_now, answer_was_lost=lost)


def weigh_refusals(claim: Claim, counted: Refusals) -> Evidence:
    """What the refusals of others say of this one.

    Rare: fewer than OUTAGE_GUARD_REFUSALS other users, or less than OUTAGE_GUARD_SHARE of those
    who were answered.
    """
    few = counted.others_refused < settings.OUTAGE_GUARD_REFUSALS
    share = settings.OUTAGE_GUARD_SHARE
    return Evidence(
        refused_before=counted.refused_before,
        others_refused=counted.others_refused,
        others_answered=counted.others_answered,
        refusals_are_rare=few or counted.others_refused < share * counted.others_answered,
        held_too_long=(claim.suspected_for or 0) >= settings.OUTAGE_GUARD_LONGEST_SECONDS,
    )


def _count_refusals(claim: Claim) -> Refusals:
    with connection.cursor() as cursor:
        cursor.execute(
            _REFUSALS,
            {"user_id": claim.user_id, "before": SHORTLY_BEFORE_SECONDS, "sample": SAMPLE},
        )
        refused, answered, before = cursor.fetchone()
    return Refusals(others_refused=refused, others_answered=answered, refused_before=before)


def _clients_are_refused(claim: Claim) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_CLIENTS_REFUSED, [sorted(CLIENT_ERRORS)])
        latest = cursor.fetchall()
    refused = {claim.user_id}
    for user_id, granted, by_client in latest:
        if granted:
            break
        if by_client:
            refused.add(user_id)
    return len(refused) >= CLIENTS_REFUSED


def _client_refused_too_long(claim: Claim) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            _CLIENT_REFUSED_FOR, [claim.user_id, claim.generation, sorted(CLIENT_ERRORS)]
        )
        seconds, others_are_served = cursor.fetchone()
    return bool(others_are_served and (seconds or 0) >= CLIENT_REFUSED_HOURS * 3600)


def _nobody_is_answered() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [FAILED_IN_A_ROW - 1])
        before: int = cursor.fetchone()[0]
    return before == FAILED_IN_A_ROW - 1


def _an_answer_was_lost(claim: Claim) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_AN_ANSWER_WAS_LOST, [claim.user_id, claim.generation])
        return bool(cursor.fetchone()[0])
