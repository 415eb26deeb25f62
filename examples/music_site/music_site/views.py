"""The project's page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from spotify_auth import web_api
from spotify_auth.decorators import spotify_required


@spotify_required(scopes=["user-top-read"])
def top_artists(request: HttpRequest) -> HttpResponse:
    """Whom the user listens to. Somebody who is not connected is asked to connect instead."""
    spotify = web_api.session_for(request.user)
    answer = spotify.get("/me/top/artists", params={"limit": 10}).json()
    return render(request, "music_site/top_artists.html", {"artists": answer["items"]})
