"""Which user a Spotify account belongs to."""

import pytest
from django.db import IntegrityError

from accounts.models import User
from accounts.users import user_for_account

pytestmark = pytest.mark.django_db


def test_the_first_login_makes_a_user_without_a_usable_password() -> None:
    user = user_for_account(account_id="acc", display_name="Maya")

    assert (user.account_id, user.display_name, user.username) == ("acc", "Maya", None)
    assert not user.has_usable_password()
    assert user.email == ""


def test_the_same_account_is_the_same_user_under_a_new_name() -> None:
    first = user_for_account(account_id="acc", display_name="Maya")

    second = user_for_account(account_id="acc", display_name="Maya L.")

    assert first.pk == second.pk
    assert User.objects.get().display_name == "Maya L."


def test_two_users_may_have_the_same_name() -> None:
    user_for_account(account_id="a", display_name="Maya")
    user_for_account(account_id="b", display_name="Maya")

    assert User.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"account_id": "a", "display_name": "Maya"}, "Maya"),
        ({"account_id": "b"}, "Spotify listener"),  # Spotify gave no name
        ({"username": "root"}, "root"),
    ],
)
def test_shows_a_name_and_never_the_account_id(fields: dict[str, str], shown: str) -> None:
    user = User.objects.create(**fields)

    assert str(user) == user.get_short_name() == shown


def test_the_database_refuses_a_user_without_any_name() -> None:
    with pytest.raises(IntegrityError):
        User.objects.create()
