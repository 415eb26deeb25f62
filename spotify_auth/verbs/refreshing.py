"""Asking for a refresh of one token."""

from django.db import transaction

from spotify_auth import tokens
from spotify_auth.models import Cause, Outcome, SpotifyToken, UserId
from spotify_auth.verbs.changing import Change, record
from spotify_auth.verbs.operator import Operator, reason_of
from spotify_auth.verbs.result import ERASED, NO_TOKEN, Result

_ASKED = Change(
    fields={},
    outcome=Outcome.REFRESH_REQUESTED,
    sentence="Asked for: a worker refreshes it now.",
    record="Refresh requested",
)


def refresh(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """Ask for a refresh soon, and do not wait: not for the row either.

    It works on an active token, one that backs off too, but for one that is suspected: a verdict
    is in no hurry, and `forgive` asks at once.
    """
    reason = reason_of(reason)
    token = SpotifyToken.objects.filter(pk=user_id).defer("access_token", "refresh_token").first()
    if token is None:
        return NO_TOKEN
    with transaction.atomic():
        nudged = tokens.nudge(
            user_id,
            generation=token.generation,
            cause=Cause.ADMIN,
            requested_by=operator.name,
        )
        if nudged:
            record(token, _ASKED, operator=operator, reason=reason)
    return Result.done(_ASKED.sentence) if nudged else _why_not(token)


def _why_not(token: SpotifyToken) -> Result:
    match token.status:
        case SpotifyToken.Status.PAUSED:
            why = "It is paused: `resume` lets it be refreshed."
        case SpotifyToken.Status.RECONNECT_REQUIRED:
            why = "Reconnect is required: `forgive` asks Spotify once more."
        case SpotifyToken.Status.ACTIVE if token.suspected_at:
            why = "Spotify has refused it, and is asked again soon: `forgive` asks at once."
        case SpotifyToken.Status.ACTIVE:
            why = "It is being refreshed at this moment, or was asked for already."
        case _:
            return ERASED
    return Result.does_not_apply(why)
