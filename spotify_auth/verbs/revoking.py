"""Erasing one user's tokens."""

from django.db import Error, transaction
from django.utils.module_loading import import_string

from spotify_auth import connections
from spotify_auth.conf import settings
from spotify_auth.database_faults import Fault, fault_of
from spotify_auth.models import SpotifyToken, UserId
from spotify_auth.verbs.operator import Operator, reason_of
from spotify_auth.verbs.result import BUSY, ERASED, NO_TOKEN, Result


def revoke(user_id: UserId, *, operator: Operator, reason: str) -> Result:
    """Erase a user's tokens. It works on every token that is not erased.

    AFTER_REVOKING is called in the same transaction, also if they are erased already.
    Spotify has no revocation endpoint: to end the access there too, the user must remove the
    application at https://www.spotify.com/account/apps/. Raises ValueError for a blank reason,
    django.db.Error when PostgreSQL fails.
    """
    reason = reason_of(reason)
    try:
        with transaction.atomic():
            revoked = connections.revoke(user_id=user_id, requested_by=operator.name, reason=reason)
            token = SpotifyToken.objects.filter(pk=user_id).first()
            if revoked:
                operator.note(f"Revoked: {reason}", about=token)
            if settings.AFTER_REVOKING:
                import_string(settings.AFTER_REVOKING)(user_id)
    except Error as error:
        if fault_of(error) is not Fault.BUSY:
            raise
        return BUSY
    if revoked:
        return Result.done("Revoked: both tokens are erased here, but not the app at Spotify.")
    return ERASED if token else NO_TOKEN
