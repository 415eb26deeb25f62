"""Which user a Spotify account belongs to here.

The account stands on the token (`SpotifyToken.account_id`). Until the next release it is
also written to `User.account_id`, where the previous version looks for it, and read from
there for rows that the previous version made during the upgrade.
"""

import logging

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from accounts import sessions
from accounts.models import User
from spotify_auth import connections
from spotify_auth.models import SpotifyToken

logger = logging.getLogger(__name__)


def user_of_account(account_id: str) -> User | None:
    """The user of a Spotify account, or None if it is nobody's."""
    return (
        User.objects.filter(spotify_auth_token__account_id=account_id).first()
        or User.objects.filter(account_id=account_id).first()
    )


def user_for_account(*, account_id: str, display_name: str) -> User:
    """The user of a Spotify account, made at its first login.

    The display name follows Spotify's.
    """
    user = user_of_account(account_id)
    if user is None:
        # The unique column decides between two first logins that come together.
        user, _ = User.objects.get_or_create(
            account_id=account_id,
            defaults={"display_name": display_name, "password": make_password(None)},
        )
    if user.display_name != display_name:
        user.display_name = display_name
        user.save(update_fields=["display_name"])
    return user


def account_of(user: User) -> str | None:
    """A user's Spotify account, or None for an administrator who has connected none."""
    tokens = SpotifyToken.objects.filter(user_id=user.pk, account_id__isnull=False)
    return tokens.values_list("account_id", flat=True).first() or user.account_id


def is_administrator(user: User) -> bool:
    """Whether a user can do more than a listener.

    A click alone never makes a Spotify account the login of such a user.
    """
    return user.is_staff or user.is_superuser


def unlink(user: User, *, requested_by: str) -> bool:
    """Take a user's Spotify account away, and erase its tokens; False if that would lock out.

    `requested_by` names the administrator who asked. A user without a username or a password
    could never log in again. Raises django.db.OperationalError when a lane holds the token for
    longer than an exchange can take.
    """
    if not user.username or not user.has_usable_password():
        return False
    with transaction.atomic():
        reason = "The Spotify account was unlinked."
        connections.revoke(user_id=user.pk, requested_by=requested_by, reason=reason)
        SpotifyToken.objects.filter(user_id=user.pk).update(account_id=None)
        User.objects.filter(pk=user.pk).update(account_id=None)
        # The owner of the Spotify account may be logged in as this user.
        sessions.end_all(user)
    logger.info("unlinked user_id=%s", user.pk)
    return True


def log_out(user_id: int) -> None:
    """Log a user out everywhere whose tokens an operator has revoked (AFTER_REVOKING).

    Raises django.db.Error.
    """
    user = User.objects.filter(pk=user_id).first()
    if user:
        sessions.end_all(user)


def note_account(user: User, account_id: str) -> bool:
    """Write a user's account where the previous version looks; False if it is another's there."""
    try:
        with transaction.atomic():
            User.objects.filter(pk=user.pk).update(account_id=account_id)
    except IntegrityError:
        return False
    return True
