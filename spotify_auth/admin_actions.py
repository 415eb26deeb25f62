"""What administrators do to tokens: each action with its name, its reason and its records.

An action is written twice: in the history of the token, which the user's deletion takes along,
and in Django's LogEntry, which tells what an administrator did. Both or neither are written.
"""

from typing import cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import transaction

from spotify_auth import connections, tokens
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent, UserId
from spotify_auth.text import one_line

Administrator = AbstractBaseUser | AnonymousUser
"""As a request has it; the admin lets nobody through who is not logged in."""


def name_of(administrator: Administrator) -> str:
    """What the history calls an administrator; "user 5" where the user model allows no name."""
    name: str | None = administrator.get_username()
    return one_line(name or "")[:100] or f"user {administrator.pk}"


def refresh(user_id: UserId, *, administrator: Administrator, reason: str) -> bool:
    """Ask for a refresh soon; False if the token cannot be asked for now (`tokens.nudge`).

    Raises django.db.Error.
    """
    token = SpotifyToken.objects.filter(pk=user_id).first()
    if token is None:
        return False
    with transaction.atomic():
        nudged = tokens.nudge(
            user_id,
            generation=token.generation,
            cause=Cause.ADMIN,
            requested_by=name_of(administrator),
        )
        if nudged:
            TokenEvent.objects.create(
                user_id=user_id,
                cause=Cause.ADMIN,
                asked_by=name_of(administrator),
                reason=one_line(reason)[:200],
                outcome=Outcome.REFRESH_REQUESTED,
                generation_before=token.generation,
            )
            _log(token, administrator, f"Refresh requested: {one_line(reason)}")
    return nudged


def revoke(user_id: UserId, *, administrator: Administrator, reason: str) -> bool:
    """Erase a user's tokens; False if there were none.

    Raises django.db.OperationalError when a lane holds the row for longer than an exchange
    can take.
    """
    with transaction.atomic():
        revoked = connections.revoke(
            user_id=user_id, requested_by=name_of(administrator), reason=reason
        )
        if revoked:
            token = SpotifyToken.objects.get(pk=user_id)
            _log(token, administrator, f"Revoked: {one_line(reason)}")
    return revoked


def _log(token: SpotifyToken, administrator: Administrator, what: str) -> None:
    LogEntry.objects.log_actions(
        user_id=cast(UserId, administrator.pk),
        queryset=[token],
        action_flag=CHANGE,
        change_message=what,
        single_object=True,
    )
