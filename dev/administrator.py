"""A local run's way into the admin: an administrator whose password `make run` prints.

Run as a program, with the environment of the service, it makes the administrator if there is
none, and says on standard output how to log in. The password comes through standard input, and
never goes into an environment or a command line.
"""

import json
import sys
from collections.abc import Mapping
from subprocess import PIPE

from dev.process import ROOT, run_step
from dev.supervisor import address

NAME = "admin"


def way_in(*, password: str, env: Mapping[str, str]) -> str:
    """One line for the terminal: how to enter the admin; blank if there is no way.

    Asks the migrated database of a local run, and makes the administrator at the first start.
    """
    ended = run_step(
        [sys.executable, "-m", "dev.administrator", address(env)],
        input=password.encode(),
        env={**env, "DJANGO_SETTINGS_MODULE": "config.settings"},
        cwd=ROOT,
        stdout=PIPE,
    )
    if ended.returncode:
        return ""  # its own words are on the terminal; the service runs without it
    said: str = json.loads(ended.stdout)
    return said


def main() -> None:
    """Make the administrator, unless there is one, and write the line as JSON."""
    import django

    django.setup()
    print(json.dumps(_sentence(sys.stdin.read(), site=sys.argv[1])))


def _sentence(password: str, *, site: str) -> str:
    import django_otp
    from django.conf import settings
    from django.urls import reverse

    from accounts import second_factor
    from accounts.models import User
    from accounts.second_factor import Mode

    if not settings.ADMIN_ENABLED:
        return ""
    user = User.objects.filter(username=NAME).first()
    if user is None:
        user = User.objects.create_superuser(NAME, password=password)
    door = f"The admin is at {site}{reverse('admin:index')}"
    if not (user.is_active and user.is_staff):
        return (
            f"{door}. `{NAME}` may not enter it any more: "
            "`make manage ARGS=createsuperuser` makes another administrator."
        )
    known = (
        f"password {password}"
        if user.check_password(password)
        else f'the password that you gave it (`make manage ARGS="changepassword {NAME}"`)'
    )
    code = ""
    if second_factor.is_needed_by(user):
        code = ", and a code of your authenticator app"
        if second_factor.mode() is Mode.REQUIRED and not django_otp.user_has_device(user):
            code += f' (`make manage ARGS="admin_second_factor {NAME}"` sets it up)'
    return f"{door}: name {NAME}, {known}{code}"


if __name__ == "__main__":
    main()
