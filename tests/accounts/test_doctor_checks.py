"""The doctor's check of administrators."""

import pytest
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from accounts import doctor_checks
from accounts.models import User

pytestmark = pytest.mark.django_db


def found() -> tuple[str, str]:
    (finding,) = doctor_checks.look_at_administrators()
    return finding.level, finding.found


def test_administrators_and_their_second_factors(settings: Settings) -> None:
    settings.HTTPS = True
    assert found() == ("warning", "There is no administrator.")
    first, _ = (User.objects.create_superuser(name) for name in ("first", "second"))
    assert found() == ("warning", "2 of 2 administrators enter by their password alone.")
    settings.ADMIN_SECOND_FACTOR = "required"
    assert found()[1] == "None of 2 administrators has a second factor, and none enters without."
    TOTPDevice.objects.create(user=first, name="app")
    assert found() == ("ok", "Administrators: 2, without a second factor: 1.")
    settings.ADMIN_SECOND_FACTOR = "optional"
    assert found() == ("warning", "1 of 2 administrators enter by their password alone.")
    settings.HTTPS = False
    assert found()[0] == "ok"
    settings.ADMIN_ENABLED = False
    assert found() == ("ok", "This process has no admin.")
