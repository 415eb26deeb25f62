"""The accounts application."""

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        """Listen to logins and logouts, and to deletions that would take a record along."""
        from django.contrib.auth.signals import user_logged_in

        from accounts import login_lines, staff_rules
        from accounts.models import User
        from accounts.previous_cookies import note_the_name

        login_lines.listen()
        user_logged_in.connect(note_the_name, dispatch_uid="accounts.previous_cookies")
        pre_delete.connect(
            staff_rules.keep_records, sender=User, dispatch_uid="accounts.staff_rules"
        )
