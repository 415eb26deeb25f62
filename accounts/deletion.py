"""A user's account, deleted: user, token and history."""

import logging

from django.db import transaction

from accounts import sessions
from accounts.models import User
from spotify_auth import connections

logger = logging.getLogger(__name__)


def delete_account(user: User) -> None:
    """Delete everything stored about a user, also while the token is being refreshed.

    Logs the user out everywhere, and waits for an exchange under way. Raises
    django.db.OperationalError when that takes longer than an exchange can; nothing is deleted
    then.
    """
    user_id = user.pk
    with transaction.atomic():
        connections.delete(user_id=user_id)
        sessions.end_all(user)
        user.delete()
    logger.info("account_deleted user_id=%s", user_id)
