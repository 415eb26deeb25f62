"""`manage.py admin_second_factor NAME`: an authenticator app for an administrator."""

import logging
import sys
from typing import Any

import segno
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import second_factor
from accounts.models import User

logger = logging.getLogger(__name__)

CODES_ASKED_FOR = 5


class Command(BaseCommand):
    help = (
        "Shows a QR code for an authenticator app, asks for its code, and then shows backup "
        "codes. An earlier app of this administrator counts no longer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--remove", action="store_true", help="remove the second factor: the phone is lost"
        )

    def handle(self, *args: Any, username: str, remove: bool, **options: Any) -> None:
        """Raises CommandError when there is no such administrator, or no terminal."""
        user = User.objects.filter(username=username, is_staff=True).first()
        if user is None:
            raise CommandError("No administrator has this username: see createsuperuser.")
        if remove:
            self.stdout.write(f"{second_factor.remove(user)} devices were removed.")
            logger.info("second_factor_removed user_id=%s", user.pk)
            return
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise CommandError(
                "What this command shows is a secret: run it in a terminal, and not where its "
                "output is kept."
            )
        self._enrol(user)

    def _enrol(self, user: User) -> None:
        device = second_factor.new_authenticator(user)
        segno.make(device.config_url).terminal(out=sys.stdout, compact=True)
        self.stdout.write(f"\n{device.config_url}\n\nScan it, or type it into the app.")
        for _ in range(CODES_ASKED_FOR):
            if second_factor.accepts(device, input("The code that the app shows now: ")):
                break
            self.stdout.write("That is not the code. Is the clock of the phone right?")
        else:
            raise CommandError("Nothing was stored. Begin again.")
        codes = second_factor.replace(user, device)
        logger.info("second_factor_set user_id=%s", user.pk)
        self.stdout.write(
            "\nStored. Each of these backup codes works once, without the app. They are not "
            "shown again:\n  " + "\n  ".join(codes)
        )
