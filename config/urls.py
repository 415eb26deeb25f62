"""Addresses."""

from django.conf import settings
from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from spotify_auth.browser_token import browser_token
from spotify_auth.health import readyz
from spotify_auth.metrics import metrics

handler500 = "spotify_auth.database_fault_pages.server_error"

# Browsers ask for it on pages that name no icon, such as the admin's.
_ICON = lazy(static, str)("images/icon.svg")

urlpatterns = [
    path("", include("accounts.urls")),
    # Its connect and callback stand behind those of accounts, which know more doors.
    path("spotify/", include("spotify_auth.urls")),
    path("api/spotify/token", browser_token, name="browser_token"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("favicon.ico", RedirectView.as_view(url=_ICON)),
    *([path(settings.ADMIN_PATH, admin.site.urls)] if settings.ADMIN_ENABLED else []),
]
