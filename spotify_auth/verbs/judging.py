"""An operator's judgement of a token: that it is dead, or that it shall be asked for again."""

from datetime import timedelta
from functools import partial

from django.db.models.functions import Now

from spotify_auth import schedule
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken, UserId
from spotify_auth.notices.models import Kind
from spotify_auth.verbs.changing import Change, change
from spotify_auth.verbs.operator import Operator
from spotify_auth.verbs.pausing import FORGIVEN, due_now
from spotify_auth.verbs.result import Result

Status = SpotifyToken.Status

_OF_A_SUSPICION = {FailureCode.INVALID_GRANT, FailureCode.ANSWER_LOST}


def require_reconnect(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """Let a user reconnect: no page gets the access token, and Spotify is not asked again.

    It works on an active or a paused token, whose error is then `required_by_admin`. It ends the
    appeals of a verdict too, whose error stays. Only `forgive` or a login undoes it.
    """
    return change(user_id, _require_reconnect, operator=operator, reason=reason)


def believe(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """Believe Spotify, which has refused a token, at once: the user must reconnect.

    It works on an active token that is suspected. The verdict is as the service would give it,
    with its appeals after 1, 6 and 24 hours.
    """
    return change(user_id, _believe, operator=operator, reason=reason)


def forgive(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """Let Spotify be asked again at once about a token that was refused or that failed.

    It works on an active token that is suspected or has failures: these are forgotten, and it
    is due now. A verdict is appealed now. A verdict of `require_reconnect` is taken back.
    """
    return change(user_id, partial(_forgive, operator), operator=operator, reason=reason)


def _require_reconnect(token: SpotifyToken) -> Change | Result:
    if token.status == Status.RECONNECT_REQUIRED and token.appeal_at is None:
        return Result.does_not_apply("Reconnect is required already, and no appeal is to come.")
    verdict = token.status == Status.RECONNECT_REQUIRED
    error = token.last_error if verdict else FailureCode.REQUIRED_BY_ADMIN
    return Change(
        fields={**_verdict(error), "appeal_at": None},
        outcome=Outcome.RECONNECT_REQUIRED,
        error=error,
        notice=None if verdict else Kind.RECONNECT_REQUIRED,
        sentence="Its appeals are ended: reconnect was required already."
        if verdict
        else "Reconnect is required now.",
        record="Appeals ended" if verdict else "Reconnect required",
    )


def _believe(token: SpotifyToken) -> Change | Result:
    if token.status == Status.RECONNECT_REQUIRED:
        return Result.does_not_apply("Reconnect is required already.")
    if token.status == Status.PAUSED:
        return Result.does_not_apply(
            "It is paused: `require_reconnect` works on it, or `resume` asks Spotify again."
        )
    if token.suspected_at is None:
        return Result.does_not_apply(
            "Spotify has not refused it. `require_reconnect` works on such a token."
        )
    error = (
        FailureCode(token.last_error)
        if token.last_error in _OF_A_SUSPICION
        else FailureCode.INVALID_GRANT
    )
    first = timedelta(seconds=schedule.appeal_after(0) or 0)
    return Change(
        fields={**_verdict(error), "appeal_at": Now() + first},
        outcome=Outcome.RECONNECT_REQUIRED,
        error=error,
        notice=Kind.RECONNECT_REQUIRED,
        sentence="Believed: reconnect is required now.",
        record="Suspicion believed",
    )


def _forgive(operator: Operator, token: SpotifyToken) -> Change | Result:
    if token.status == Status.PAUSED:
        return Result.does_not_apply("It is paused: `resume` forgives it.")
    if token.status == Status.ACTIVE:
        if token.suspected_at is None and not token.failures:
            return Result.does_not_apply("There is nothing to forgive: `refresh` asks for it now.")
        return Change(
            fields={**FORGIVEN, **due_now(operator)},
            outcome=Outcome.FORGIVEN,
            notice=Kind.RECOVERED if token.suspected_at else None,
            notice_reason="forgiven",
            sentence="Forgiven. A worker asks Spotify now.",
            record="Forgiven",
        )
    if token.last_error == FailureCode.BACKUP_RESTORED:
        return Result.does_not_apply(
            "It is from a restored backup and may be out of date: Spotify must not be shown it."
        )
    if token.last_error == FailureCode.REQUIRED_BY_ADMIN:
        return Change(
            fields={**FORGIVEN, **due_now(operator), "status": Status.ACTIVE},
            outcome=Outcome.FORGIVEN,
            notice=Kind.RECOVERED,
            notice_reason="forgiven",
            sentence="Taken back: it is connected again. A worker refreshes it now.",
            record="Verdict taken back",
        )
    return Change(
        fields={"appeal_at": Now()},
        outcome=Outcome.FORGIVEN,
        sentence="The verdict is appealed: a worker asks Spotify now.",
        record="Verdict appealed",
    )


def _verdict(error: str) -> dict[str, object]:
    return {
        "status": Status.RECONNECT_REQUIRED,
        "due_cause": Cause.SCHEDULE,
        "asked_by": "",
        "appeals": 0,
        "last_error": error,
    }
