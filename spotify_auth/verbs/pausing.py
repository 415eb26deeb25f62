"""Pausing one user's token, and letting it go on.

While it is paused no lane, appeal, probe or nudge touches it: all of these look for active
tokens, or for verdicts. Readers get its access token as long as that lives. A login ends the
pause, since it brings a new pair.
"""

from functools import partial

from django.db.models.functions import Now

from spotify_auth.models import Cause, Outcome, SpotifyToken, UserId
from spotify_auth.notices.models import Kind
from spotify_auth.verbs.changing import Change, change
from spotify_auth.verbs.operator import Operator
from spotify_auth.verbs.result import Result

Status = SpotifyToken.Status


def pause(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """Let nobody present a user's refresh token to Spotify until `resume`, or a login.

    It works on an active token, in whatever trouble that is. Its failures and its suspicion are
    kept for the operator to see.
    """
    return change(user_id, _pause, operator=operator, reason=reason)


def resume(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """End the pause of a user's token: it is due now.

    Failures and a suspicion are forgiven: the time of the pause is no evidence that Spotify
    refuses the token, which nobody has shown to it.
    """
    return change(user_id, partial(_resume, operator), operator=operator, reason=reason)


def _pause(token: SpotifyToken) -> Change | Result:
    if token.status == Status.PAUSED:
        return Result.does_not_apply("It is paused already.")
    if token.status != Status.ACTIVE:
        return Result.does_not_apply(
            "Reconnect is required: nothing is refreshed. `require_reconnect` ends its appeals."
        )
    return Change(
        fields={"status": Status.PAUSED},
        outcome=Outcome.PAUSED,
        notice=Kind.TOKEN_PAUSED,
        sentence="Paused. Its access token is good until it expires.",
        record="Paused",
    )


def _resume(operator: Operator, token: SpotifyToken) -> Change | Result:
    if token.status != Status.PAUSED:
        return Result.does_not_apply("It is not paused.")
    return Change(
        fields={**due_now(operator), **FORGIVEN, "status": Status.ACTIVE},
        outcome=Outcome.RESUMED,
        notice=Kind.TOKEN_RESUMED,
        sentence="Resumed. A worker refreshes it now.",
        record="Resumed",
    )


FORGIVEN: dict[str, object] = {"failures": 0, "suspected_at": None, "last_error": ""}
"""Nothing is held against a token any more."""


def due_now(operator: Operator) -> dict[str, object]:
    """A token is due now, because this operator says so."""
    return {"due_at": Now(), "due_cause": Cause.ADMIN, "asked_by": operator.name}
