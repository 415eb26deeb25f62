"""The project's addresses: its own login, a page with music, and Spotify's doors."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from music_site import views

urlpatterns = [
    path("", views.top_artists),
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="music_site/login.html")),
    path("logout/", LogoutView.as_view(next_page="/login/")),
    path("spotify/", include("spotify_auth.urls")),
]
