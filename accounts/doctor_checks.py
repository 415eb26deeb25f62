"""What `manage.py doctor` looks at besides the checks of spotify_auth."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Exists, OuterRef
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import second_factor
from accounts.models import User
from accounts.second_factor import Mode
from spotify_auth.doctor.findings import Check, Finding, ok, warning


def look_at_administrators() -> Iterator[Finding]:
    """Somebody can enter the admin, and nobody by a password alone."""
    if not settings.ADMIN_ENABLED:
        yield ok("This process has no admin.")
        return
    mine = {"user": OuterRef("pk"), "confirmed": True}
    staff = User.objects.filter(is_staff=True, is_active=True)
    without = staff.exclude(
        Exists(TOTPDevice.objects.filter(**mine)) | Exists(StaticDevice.objects.filter(**mine))
    ).count()
    many = staff.count()
    if not many:
        yield warning("There is no administrator.", "Run `manage.py createsuperuser`.")
    elif second_factor.mode() is Mode.REQUIRED and without == many:
        yield warning(
            f"None of {many} administrators has a second factor, and none enters without.",
            "Run `manage.py admin_second_factor NAME` for each.",
        )
    elif second_factor.mode() is not Mode.REQUIRED and without and settings.HTTPS:
        yield warning(
            f"{without} of {many} administrators enter by their password alone.",
            "Run `manage.py admin_second_factor NAME` for each, and then set "
            "ADMIN_SECOND_FACTOR=required (docs/how-to/secure-the-admin.md).",
        )
    else:
        yield ok(f"Administrators: {many}, without a second factor: {without}.")


ADMINISTRATORS = Check(name="admins", look=look_at_administrators, asks="PostgreSQL")
