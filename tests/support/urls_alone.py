"""The addresses of a project whose callback is that of spotify_auth: nobody logs in by it."""

from django.urls import include, path

from config.urls import urlpatterns as site

urlpatterns = [path("spotify/", include("spotify_auth.urls")), *site]
