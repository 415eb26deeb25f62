"""The second factor of administrators: codes of an authenticator app, or backup codes.

django-otp stores them and throttles each device. They stand in the database in the clear: see
docs/how-to/secure-the-admin.md.
"""

from enum import StrEnum

import django_otp
from django.conf import settings
from django.db import transaction
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import sessions
from accounts.models import User

BACKUP_CODES = 10


class Mode(StrEnum):
    """ADMIN_SECOND_FACTOR."""

    REQUIRED = "required"
    """Nobody enters the admin without one."""
    OPTIONAL = "optional"
    """Whoever has set one up needs it."""
    OFF = "off"


def mode() -> Mode:
    """What the setting says. Raises ValueError for what is none of the three."""
    return Mode(settings.ADMIN_SECOND_FACTOR)


def is_needed_by(user: User) -> bool:
    """Whether this user's password alone is not enough."""
    match mode():
        case Mode.REQUIRED:
            return True
        case Mode.OPTIONAL:
            return bool(django_otp.user_has_device(user))
        case Mode.OFF:
            return False


def verify(user: User, code: str) -> str:
    """Check a code, once: the device's id for the session, or blank if the code is wrong.

    Only devices that such a code can be of are asked: each wrong code makes a device wait.
    """
    code = "".join(code.split()).lower()
    kind: type[Device] = TOTPDevice if code.isdecimal() else StaticDevice
    for device in kind.objects.devices_for_user(user, confirmed=True):
        if django_otp.verify_token(user, device.persistent_id, code):
            return str(device.persistent_id)
    return ""


def still_exists(user: User, device_id: str) -> bool:
    """Whether a device that a session was begun with is still this user's."""
    device = Device.from_persistent_id(device_id) if device_id else None
    return device is not None and device.confirmed and device.user_id == user.pk


def new_authenticator(user: User) -> TOTPDevice:
    """An authenticator that is not stored yet: its `config_url` is a secret."""
    return TOTPDevice(user=user, name="authenticator app")


def accepts(device: TOTPDevice, code: str) -> bool:
    """Whether an authenticator that is not stored yet shows this code."""
    with transaction.atomic():
        device.save()
        right: bool = device.verify_token(code)
        transaction.set_rollback(True)
    device.pk = None
    device.throttle_reset(commit=False)
    return right


@transaction.atomic
def replace(user: User, device: TOTPDevice) -> list[str]:
    """Store a new authenticator instead of every device the user had; the backup codes."""
    remove(user)
    device.save()
    backup = StaticDevice.objects.create(user=user, name="backup codes")
    codes = [StaticToken.random_token() for _ in range(BACKUP_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=backup, token=code) for code in codes)
    return codes


def remove(user: User) -> int:
    """Delete every device of a user; how many there were."""
    devices = list(django_otp.devices_for_user(user, confirmed=None))
    for device in devices:
        device.delete()
    # A session from before was made without what is asked for from now on.
    sessions.end_all(user)
    return len(devices)
