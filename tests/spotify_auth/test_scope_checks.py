"""The checks of scopes: a button that asks for too little leads back to the same page."""

import pytest
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from pytest_django import Settings

from spotify_auth.decorators import spotify_required

ASKED = ["user-top-read"]
ALLAUTH = {"spotify": {"SCOPE": ASKED}}
PIPELINE = ["social_core.pipeline.user", "spotify_auth.contrib.social_auth.keep_spotify_token"]


@spotify_required(scopes=["user-top-read"])
def in_order(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError


@spotify_required(scopes=["user-top-read", "streaming"])
async def player(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError


@method_decorator(spotify_required(scopes=["playlist-read-private"]), name="dispatch")
class Playlists(View):
    """A view of its own class."""


urlpatterns = [
    path("top/", in_order),
    path("spotify/", include("spotify_auth.urls")),
    path("more/", include([path("player/", player), path("lists/", Playlists.as_view())])),
]


def found(number: str) -> list[str]:
    return [each.msg for each in run_checks() if each.id == f"spotify_auth.{number}"]


@pytest.mark.urls(__name__)
def test_views_that_want_what_nobody_is_asked_for(settings: Settings) -> None:
    settings.SPOTIFY_SCOPES = ASKED

    lists, play = found("W006")
    assert "Playlists wants playlist-read-private, which" in lists
    assert "player wants streaming, which" in play

    settings.SPOTIFY_SCOPES = [*ASKED, "streaming", "playlist-read-private"]
    assert found("W006") == []


@pytest.mark.parametrize(
    ("theirs", "names"),
    [
        (None, []),  # none of these libraries logs in
        ({"SOCIAL_AUTH_SPOTIFY_SCOPE": ["streaming"]}, []),  # its tokens are not taken over
        ({"SOCIAL_AUTH_PIPELINE": PIPELINE, "SOCIAL_AUTH_SPOTIFY_SCOPE": ASKED}, []),
        (
            {"SOCIAL_AUTH_PIPELINE": PIPELINE, "SOCIAL_AUTH_SPOTIFY_SCOPE": ["streaming"]},
            ["SPOTIFY_SCOPES and SOCIAL_AUTH_SPOTIFY_SCOPE differ by streaming, user-top-read"],
        ),
        (
            {"SOCIAL_AUTH_PIPELINE": PIPELINE},
            ["SPOTIFY_SCOPES and SOCIAL_AUTH_SPOTIFY_SCOPE differ by user-top-read"],
        ),
    ],
)
def test_logins_of_social_auth(
    settings: Settings, theirs: dict[str, object] | None, names: list[str]
) -> None:
    settings.SPOTIFY_SCOPES = ASKED
    for name, value in (theirs or {}).items():
        setattr(settings, name, value)

    assert [text.partition(":")[0] for text in found("W007")] == names
