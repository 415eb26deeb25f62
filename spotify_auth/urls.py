"""Addresses of connecting, of Spotify's way back (SPOTIFY_REDIRECT_URI), and of disconnecting."""

from django.urls import path

from spotify_auth import views

app_name = "spotify_auth"
urlpatterns = [
    path("connect/", views.connect, name="connect"),
    path("callback/", views.callback, name="callback"),
    path("disconnect/", views.disconnect, name="disconnect"),
]
