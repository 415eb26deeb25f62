"""The administrator of a local run: what is said of the way into the admin."""

from typing import Any

import pytest
from django_otp.plugins.otp_static.models import StaticDevice

from accounts.models import User
from dev import administrator

pytestmark = pytest.mark.django_db

DOOR = "The admin is at http://here/admin/"
SHOWN = f"{DOOR}: name admin, password the printed one"


def sentence() -> str:
    return administrator._sentence("the printed one", site="http://here")


@pytest.fixture
def admin() -> User:
    """The one whom the first start made."""
    assert sentence() == SHOWN
    return User.objects.get()


def test_the_first_start_makes_a_superuser_and_each_start_says_the_same(admin: User) -> None:
    assert (admin.username, admin.is_superuser, admin.is_staff) == ("admin", True, True)
    assert admin.check_password("the printed one")
    assert sentence() == SHOWN
    assert User.objects.get() == admin


def test_a_changed_password_is_not_overwritten_and_no_wrong_one_is_said(admin: User) -> None:
    admin.set_password("their own")
    admin.save()

    said = sentence()

    assert said.startswith(f"{DOOR}: name admin, the password that you gave it (")
    assert "the printed one" not in said
    admin.refresh_from_db()
    assert admin.check_password("their own")


def test_a_deactivated_administrator_is_left_as_it_is(admin: User) -> None:
    User.objects.update(is_active=False)

    assert sentence().startswith(f"{DOOR}. `admin` may not enter it any more")
    assert not User.objects.get().is_active


def test_nobody_is_made_where_there_is_no_admin(settings: Any) -> None:
    settings.ADMIN_ENABLED = False

    assert sentence() == ""
    assert not User.objects.exists()


def test_a_second_factor_is_said_together_with_the_way_to_set_one_up(
    admin: User, settings: Any
) -> None:
    settings.ADMIN_SECOND_FACTOR = "required"
    sets_up = '(`make manage ARGS="admin_second_factor admin"` sets it up)'
    assert sentence() == f"{SHOWN}, and a code of your authenticator app {sets_up}"

    settings.ADMIN_SECOND_FACTOR = "optional"
    assert sentence() == SHOWN
    StaticDevice.objects.create(user=admin, name="backup codes")
    assert sentence() == f"{SHOWN}, and a code of your authenticator app"
