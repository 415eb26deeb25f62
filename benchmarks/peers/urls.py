"""The site that each contestant serves: one page that shows the user's Spotify name.

The page is served by gunicorn with the contestant's adapter, a module with

    REFUSED                        what is raised when the user must log in again
    user_for(persona, answer)      the local user of a Spotify account
    save_login(request, answer)    store the grant of a login
    read(request)                  the access token, with nothing to refresh
    profile(request)               GET /v1/me, refreshed before if need be
    stored_refresh_token(request)  what is in the store now
"""

import os
from importlib import import_module

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

adapter = import_module(os.environ["CONTESTANT_MODULE"])


def page(request: HttpRequest) -> HttpResponse:
    """200 with the name; 401 is "log in again"; anything else that is raised is a 500."""
    try:
        return JsonResponse({"name": adapter.profile(request)["display_name"]})
    except adapter.REFUSED as refusal:
        return HttpResponse(f"Log in again ({type(refusal).__name__})", status=401)


urlpatterns = [
    path("", page),
    # config.wsgi serves no site without the address to which logins come back.
    path("spotify/callback/", page, name="callback"),
]
