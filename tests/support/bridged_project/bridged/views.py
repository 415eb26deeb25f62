"""The project's page. The tests append what the guides want in addition."""

from typing import Any

import httpx
import httpx2
import requests
import tekore
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, JsonResponse
from tekore._client import base

from spotify_auth import tokens, web_api
from spotify_auth.contrib import spotipy
from spotify_auth.contrib import tekore as tekore_bridge
from spotify_auth.contrib.httpx import auth_for
from spotify_auth.contrib.requests_auth import SpotifyAuth
from spotify_auth.decorators import spotify_required

PROFILE = f"{settings.SPOTIFY_API_URL}/v1/me"
base.prefix = f"{settings.SPOTIFY_API_URL}/v1/"


def _by_httpx(library: Any, user: Any) -> Any:
    with library.Client(auth=auth_for(library, user), trust_env=False) as client:
        return client.get(PROFILE).raise_for_status().json()


def _by_tekore(user: Any) -> Any:
    client = tekore_bridge.client_for(user)
    try:
        return client.send(tekore.Request("GET", "me")).content
    finally:
        client.close()


CLIENTS = {
    "session": lambda user: web_api.session_for(user).get("/me").json(),
    "spotipy": lambda user: spotipy.client_for(user).current_user(),
    "requests": lambda user: requests.get(PROFILE, auth=SpotifyAuth(user), timeout=10).json(),
    "httpx": lambda user: _by_httpx(httpx, user),
    "httpx2": lambda user: _by_httpx(httpx2, user),
    "tekore": _by_tekore,
}


@spotify_required
def music(request: HttpRequest) -> JsonResponse:
    """Whose music it is, as the chosen client is told, and by which token pair."""
    profile = CLIENTS[request.GET.get("by", "session")](request.user)
    token = tokens.access_token_for(request.user)
    return JsonResponse(
        {
            "account_id": profile["account_id"],
            "generation": token.generation,
            "user": str(get_user(request).pk),
        }
    )
