"""The accounts application."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        """Let each new session know the name of its cookie."""
        from django.contrib.auth.signals import user_logged_in

        from accounts.previous_cookies import note_the_name

        user_logged_in.connect(note_the_name)
