"""The accounts application."""

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        """Listen to logins, and to deletions that would take a record along."""
        from accounts import login_lines, staff_rules
        from accounts.models import User

        login_lines.listen()
        pre_delete.connect(
            staff_rules.keep_records, sender=User, dispatch_uid="accounts.staff_rules"
        )
