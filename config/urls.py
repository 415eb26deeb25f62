"""Addresses."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("accounts.urls")),
    path("spotify/", include("spotify_auth.urls")),
    path("admin/", admin.site.urls),
]
