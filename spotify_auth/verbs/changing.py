"""How a verb changes one token: under its row lock, with an event and a record, or not at all."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.db import Error, transaction

from spotify_auth.connections import bound_lock_wait
from spotify_auth.database_faults import Fault, fault_of
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent, UserId
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.sentences import by_operator, why_reconnect
from spotify_auth.text import for_the_log
from spotify_auth.verbs.operator import Operator, reason_of
from spotify_auth.verbs.result import BUSY, ERASED, NO_TOKEN, Result

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What a verb does to a token in its present state."""

    fields: dict[str, object]
    """New values of the row's columns, expressions allowed."""
    outcome: Outcome
    """Of the event."""
    sentence: str
    """For the operator."""
    record: str
    """For the LogEntry: what was done, in a word or two."""
    error: str = ""
    """Of the event."""
    notice: Kind | None = None
    """What others are told of, if the state changes for them."""
    notice_reason: str = "operator"


def change(
    user_id: UserId,
    decide: Callable[[SpotifyToken], Change | Result],
    *,
    operator: Operator,
    reason: str,
) -> Result:
    """Lock a user's row, let `decide` say what to do in its present state, and do that.

    A lane that refreshes the token at this moment is waited for: it commits first. Raises
    ValueError for a blank reason, django.db.Error when PostgreSQL fails.
    """
    reason = reason_of(reason)
    try:
        with transaction.atomic():
            bound_lock_wait()
            return _change_locked(user_id, decide, operator=operator, reason=reason)
    except Error as error:
        if fault_of(error) is not Fault.BUSY:
            raise
        return BUSY


def _change_locked(
    user_id: UserId,
    decide: Callable[[SpotifyToken], Change | Result],
    *,
    operator: Operator,
    reason: str,
) -> Result:
    token = (
        SpotifyToken.objects.select_for_update()
        .defer("access_token", "refresh_token")
        .filter(pk=user_id)
        .first()
    )
    if token is None:
        return NO_TOKEN
    if token.status in SpotifyToken.ERASED:
        return ERASED
    decided = decide(token)
    if isinstance(decided, Result):
        return decided
    SpotifyToken.objects.filter(pk=user_id).update(**decided.fields)
    if decided.notice:
        outbox.write(_draft(token, decided, decided.notice))
    record(token, decided, operator=operator, reason=reason)
    transaction.on_commit(partial(_log, token, decided, operator))
    return Result.done(decided.sentence)


def _draft(token: SpotifyToken, decided: Change, kind: Kind) -> outbox.Draft:
    reason = decided.error or decided.notice_reason
    return outbox.of_token(
        kind,
        user_id=token.pk,
        generation=token.generation,
        status=str(decided.fields.get("status", token.status)),
        reason=reason,
        sentence=why_reconnect(reason) if kind is Kind.RECONNECT_REQUIRED else by_operator(kind),
    )


def record(token: SpotifyToken, done: Change, *, operator: Operator, reason: str) -> None:
    """Write the event and the LogEntry of a change, in the caller's transaction."""
    TokenEvent.objects.create(
        user_id=token.pk,
        cause=Cause.ADMIN,
        asked_by=operator.name,
        reason=reason,
        outcome=done.outcome,
        generation_before=token.generation,
        generation_after=token.generation,
        error=done.error,
    )
    operator.note(f"{done.record}: {reason}", about=token)


def _log(token: SpotifyToken, done: Change, operator: Operator) -> None:
    logger.info(
        "operator_acted user_id=%s generation=%s outcome=%s asked_by=%s",
        token.pk,
        token.generation,
        done.outcome,
        for_the_log(operator.name),
    )
