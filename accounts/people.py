"""Who a Spotify account belongs to here."""

from django.contrib.auth.hashers import make_password

from accounts.models import User


def person_for(*, account_id: str, display_name: str) -> User:
    """The user linked to a Spotify account, made at the first log-in.

    The display name follows Spotify's.
    """
    user, created = User.objects.get_or_create(
        account_id=account_id,
        defaults={"display_name": display_name, "password": make_password(None)},
    )
    if not created and user.display_name != display_name:
        user.display_name = display_name
        user.save(update_fields=["display_name"])
    return user
