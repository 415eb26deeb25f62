"""Which user a Spotify account belongs to."""

import pytest
from django.db import IntegrityError

from accounts import users
from accounts.models import User
from accounts.users import user_for_account
from spotify_auth import connections
from spotify_auth.accounts_service.grant import Grant

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


GRANT = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")


def store(user: User, account_id: str | None) -> None:
    connections.connect(
        user_id=user.pk,
        grant=GRANT,
        issued_at=connections.database_now(),
        account_id=account_id,
    )


def test_a_user_is_found_by_the_account_of_the_token() -> None:
    user = User.objects.create(username="root")
    store(user, "acc")

    assert users.user_of_account("acc") == user
    assert users.user_for_account(account_id="acc", display_name="Maya") == user
    assert users.account_of(user) == "acc"


def test_a_user_whom_the_previous_version_made_is_found_by_the_users_own_column() -> None:
    user = User.objects.create(account_id="acc")
    store(user, None)  # as that version does

    assert users.user_of_account("acc") == user
    assert users.account_of(user) == "acc"


def test_the_accounts_of_two_users_cannot_be_swapped() -> None:
    user_for_account(account_id="acc", display_name="Maya")
    other = User.objects.create(username="root")

    assert not users.note_account(other, "acc")
    assert users.note_account(other, "another")
    other.refresh_from_db()
    assert other.account_id == "another"


def test_an_account_that_is_nobodys_has_no_user() -> None:
    User.objects.create(username="root")

    assert users.user_of_account("acc") is None
