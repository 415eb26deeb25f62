"""Django's admin, with our own site in place of its default one."""

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class KeeperAdminConfig(AdminConfig):
    """Registers every app's pages with `admin_site.KeeperAdminSite`."""

    default_site = "accounts.admin_site.KeeperAdminSite"

    def ready(self) -> None:
        """Take out again the pages that show or make the secrets of second factors."""
        super().ready()
        from django_otp.plugins.otp_static.models import StaticDevice
        from django_otp.plugins.otp_totp.models import TOTPDevice

        for device in (StaticDevice, TOTPDevice):
            admin.site.unregister(device)
