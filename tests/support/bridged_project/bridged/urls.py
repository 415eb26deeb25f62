"""The project's addresses. The tests append what the guides want in addition."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path

from bridged import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="admin/login.html")),
    path("accounts/", include("allauth.urls")),
    path("social/", include("social_django.urls")),
    path("spotify/", include("spotify_auth.urls")),
    path("music/", views.music),
]
