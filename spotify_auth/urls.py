"""Addresses of logging in and disconnecting."""

from django.urls import path

from spotify_auth import views

app_name = "spotify_auth"
urlpatterns = [
    path("login/", views.login, name="login"),
    path("reconnect/", views.reconnect, name="reconnect"),
    path("callback/", views.callback, name="callback"),
    path("disconnect/", views.disconnect, name="disconnect"),
]
