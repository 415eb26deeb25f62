"""Pausing all refreshing, letting it go on, and ending a cool-down."""

import logging

from django.db import connection, transaction
from django.db.models.functions import Now

from spotify_auth import cooldown, pace
from spotify_auth.models import ServicePause
from spotify_auth.notices import outbox, pauses
from spotify_auth.text import for_the_log
from spotify_auth.verbs.operator import Operator, reason_of
from spotify_auth.verbs.result import Result
from spotify_auth.web_api import pace as web_api_pace

logger = logging.getLogger(__name__)

# The unique index decides between two operators who pause at the same moment.
_PAUSE = """
INSERT INTO spotify_auth_servicepause (since, by, reason)
VALUES (clock_timestamp(), %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""


def pause_all(*, operator: Operator, reason: str) -> Result:
    """Let no lane of any worker claim a token, until `resume_all`.

    It holds from the commit on, in PostgreSQL: restarts and a lost Redis change nothing. Exchanges
    in hand finish and are stored. Users can log in meanwhile. Workers of a version before 0016 do
    not know of it. Raises ValueError for a blank reason, django.db.Error.
    """
    reason = reason_of(reason)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_PAUSE, [operator.name, reason])
            row = cursor.fetchone()
        if row is None:
            return Result.does_not_apply("All refreshing is paused already.")
        pause = ServicePause.objects.get(pk=row[0])
        outbox.write(pauses.paused(pauses.OPERATOR))
        operator.note(f"All refreshing paused: {reason}", about=pause)
        transaction.on_commit(
            lambda: logger.warning("service_paused asked_by=%s", for_the_log(operator.name))
        )
    return Result.done("All refreshing is paused. Exchanges in hand are finished and stored.")


def resume_all(*, operator: Operator, reason: str) -> Result:
    """Let lanes claim tokens again; the next sweep opens them. Single tokens stay paused.

    Raises ValueError for a blank reason, django.db.Error.
    """
    reason = reason_of(reason)
    with transaction.atomic():
        pause = ServicePause.objects.select_for_update().filter(ended_at=None).first()
        if pause is None:
            return Result.does_not_apply("Refreshing is not paused.")
        ServicePause.objects.filter(pk=pause.pk).update(
            ended_at=Now(), ended_by=operator.name, end_reason=reason
        )
        outbox.write(pauses.resumed(pauses.OPERATOR))
        operator.note(f"All refreshing resumed: {reason}", about=pause)
        transaction.on_commit(
            lambda: logger.warning("service_resumed asked_by=%s", for_the_log(operator.name))
        )
    return Result.done("Refreshing goes on with the next sweep.")


def forget_pace(*, operator: Operator, reason: str) -> Result:
    """Forget the paces that were learned from 429s, the Web API's too: unlimited until the next.

    Raises ValueError for a blank reason, redis.RedisError.
    """
    reason = reason_of(reason)
    known = {"refreshes": pace.forget(), "Web API calls": web_api_pace.forget_learned()}
    forgotten = [f"{rate:.1f} {what} a second" for what, rate in known.items() if rate is not None]
    if not forgotten:
        return Result.does_not_apply("No pace is learned.")
    operator.note(f"Pace forgotten: {reason}", about=None, called="Pace")
    logger.warning(
        "pace_forgotten refreshes=%s web_api_calls=%s asked_by=%s",
        pace.rate_for_the_log(known["refreshes"]),
        pace.rate_for_the_log(known["Web API calls"]),
        for_the_log(operator.name),
    )
    return Result.done(f"Forgotten until the next 429: {', '.join(forgotten)}.")


def lift_cooldown(*, operator: Operator, reason: str) -> Result:
    """End the cool-down that the service has ordered by itself, before its time.

    Every lane may ask at once, without a probe: what began the cool-down begins it again. Not
    that of `manage.py tokens after-restore`, which protects tokens. Raises ValueError for a
    blank reason, redis.RedisError, django.db.Error.
    """
    reason = reason_of(reason)
    lifted = cooldown.lift()
    if not lifted:
        return Result.does_not_apply("There is no cool-down.")
    if lifted == cooldown.Reason.RESTORING:
        return Result.does_not_apply(
            "`manage.py tokens after-restore` has paused refreshing: it goes on when that is done."
        )
    pauses.look()
    operator.note(f"Cool-down lifted: {reason}", about=None, called="Cool-down")
    logger.warning("cooldown_lifted reason=%s asked_by=%s", lifted, for_the_log(operator.name))
    return Result.done("The cool-down is over: every worker may ask Spotify.")
