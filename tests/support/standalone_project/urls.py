"""The project's addresses: its own login, a page with music, and Spotify's doors."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from spotify_auth import tokens, web_api
from spotify_auth.decorators import spotify_required


@spotify_required
def music(request: HttpRequest) -> JsonResponse:
    """Whose music it is, and by which token pair."""
    profile = web_api.session_for(request.user).get("/me").json()
    token = tokens.access_token_for(request.user)
    return JsonResponse({"name": profile["display_name"], "generation": token.generation})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="admin/login.html")),
    path("music/", music),
    path("spotify/", include("spotify_auth.urls")),
]
