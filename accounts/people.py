"""Who a Spotify account belongs to here."""

from contextlib import suppress

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from accounts.models import User


def person_for(*, account_id: str, display_name: str, here: User | None = None) -> User:
    """The user linked to a Spotify account, made at the first log-in.

    The display name follows Spotify's. If the account is nobody's yet and `here`, who is
    logged in, has none, it becomes theirs: an administrator's, for example.
    """
    if here and not here.account_id:
        with suppress(IntegrityError), transaction.atomic():
            User.objects.filter(pk=here.pk, account_id=None).update(account_id=account_id)
    user, created = User.objects.get_or_create(
        account_id=account_id,
        defaults={"display_name": display_name, "password": make_password(None)},
    )
    if not created and user.display_name != display_name:
        user.display_name = display_name
        user.save(update_fields=["display_name"])
    return user
