"""Addresses of the pages, and of logging in with Spotify."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from accounts import account_views, api, login_views, views

app_name = "accounts"
urlpatterns = [
    path("", views.home, name="home"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("connection/", views.connection, name="connection"),
    path("account/delete/", views.delete_account, name="delete_account"),
    path("account/sessions/", account_views.session_list, name="sessions"),
    path("account/sessions/<int:pk>/end/", account_views.end_session, name="end_session"),
    path("account/sessions/end/", account_views.end_all_sessions, name="end_all_sessions"),
    path("account/data/", account_views.my_data, name="my_data"),
    path("account/reminder/", views.reminder, name="reminder"),
    path("api/dashboard-data", api.dashboard_data, name="dashboard_data"),
    path("account/link/", login_views.link, name="link"),
    path("spotify/login/", login_views.login, name="login"),
    path("spotify/reconnect/", login_views.reconnect, name="reconnect"),
    path("spotify/connect/", login_views.connect, name="connect"),
    path("spotify/callback/", login_views.callback, name="callback"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
