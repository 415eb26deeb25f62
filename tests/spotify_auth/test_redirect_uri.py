"""Redirect URIs: those that Spotify takes, and those that come back here."""

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path
from django.utils import translation
from pytest_django import Settings

from spotify_auth.redirect_uri import redirect_uri, view_of


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/spotify/callback/",
        "https://example.com:8443/cb",
        "http://127.0.0.1:8000/spotify/callback/",
        "http://[::1]:8000/spotify/callback/",
    ],
)
def test_what_spotify_takes_stays_as_it_is_written(uri: str) -> None:
    assert redirect_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "127.0.0.1:8000",
        "ftp://example.com/",
        "https://",
        "https://example.com:0/",
        "http://example.com/spotify/callback/",  # plain http on a real name
        "http://10.0.0.1/spotify/callback/",
        "http://localhost:8000/spotify/callback/",
        "https://localhost/spotify/callback/",
        "https://LOCALHOST/spotify/callback/",
        "https://example.com/spotify/callback/?a=b",
        "https://example.com/spotify/callback/?",
        "https://example.com/spotify/callback/#a",
        "https://user:secret@example.com/spotify/callback/",
    ],
)
def test_what_cannot_work_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^(not|a host|more)"):
        redirect_uri(uri)


def test_what_answers_a_path_is_known() -> None:
    match = view_of("http://127.0.0.1:8000/spotify/callback/")

    assert match
    assert match.view_name == "accounts:callback"
    assert view_of("http://127.0.0.1:8000/callback") is None
    assert view_of("http://127.0.0.1:8000") is not None


def test_the_prefix_of_a_site_belongs_to_the_address(settings: Settings) -> None:
    settings.FORCE_SCRIPT_NAME = "/music/"

    assert view_of("http://127.0.0.1:8000/music/spotify/callback/")
    assert view_of("http://127.0.0.1:8000/spotify/callback/") is None


def test_an_address_may_be_of_any_language_of_the_site(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USE_I18N = True
    patterns = i18n_patterns(path("spotify/", include("spotify_auth.urls")))
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
    monkeypatch.setattr(
        translation, "_trans", type(vars(translation)["_trans"])()
    )  # it has read USE_I18N
    settings.LANGUAGES = [("en", "English"), ("de", "German")]

    for language in ("en", "de"):
        match = view_of(f"http://127.0.0.1:8000/{language}/spotify/callback/")
        assert match
        assert match.view_name == "spotify_auth:callback"
    assert view_of("http://127.0.0.1:8000/fr/spotify/callback/") is None
