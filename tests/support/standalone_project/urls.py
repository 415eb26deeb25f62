"""The example's addresses, and a page that says by which token pair it got its music."""

import music_site.urls
from django.http import HttpRequest, JsonResponse
from django.urls import path

from spotify_auth import tokens, web_api
from spotify_auth.decorators import spotify_required


@spotify_required
def music(request: HttpRequest) -> JsonResponse:
    """Whose music it is, and by which token pair."""
    profile = web_api.session_for(request.user).get("/me").json()
    token = tokens.access_token_for(request.user)
    return JsonResponse({"name": profile["display_name"], "generation": token.generation})


urlpatterns = [path("music/", music), *music_site.urls.urlpatterns]
