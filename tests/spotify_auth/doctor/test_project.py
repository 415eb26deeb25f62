"""The doctor looks at the project: settings, the redirect URI, how the site is deployed."""

import pytest
from celery import _state
from pytest_django import Settings

from config import celery_app
from tests.support.doctor import diagnose, doctor


@pytest.fixture(autouse=True)
def the_doctors_threads_know_our_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every process of the service. In those of tests pytest-celery has made its own."""
    monkeypatch.setattr(_state, "default_app", celery_app)


def test_settings_are_shown_without_secrets(settings: Settings) -> None:
    settings.OPERATIONS_TOKEN = "a-token-of-operators"
    settings.REFRESH_LANES = 65
    settings.SETTINGS_SHOWN = {"SECRET_KEY": ("set", "file"), "LOG_LEVEL": ("INFO", "default")}

    (found,) = diagnose("settings").findings
    short, whole = doctor("--only", "settings").text, doctor("--only", "settings", "-v", "2").text

    assert found["facts"]["REFRESH_LANES"] == "65"
    assert found["facts"]["OPERATIONS_TOKEN"] == "set"
    assert found["facts"]["TOKEN_ENCRYPTION_KEYS"] == "set"
    assert found["facts"]["SECRET_KEY"] == "set, from a file"
    assert found["facts"]["REDIS_URL"].startswith("redis://127.0.0.1:")
    assert "LOG_LEVEL" not in short
    assert "LOG_LEVEL=INFO" in whole


def test_a_setting_that_is_missing(settings: Settings) -> None:
    settings.SPOTIFY_CLIENT_ID = None
    settings.SETTINGS_SHOWN = {}

    said = diagnose("settings", "checks")

    assert said.code == 1
    assert said.bad[0][1].startswith("SPOTIFY_CLIENT_ID: missing.")
    assert said.bad[1][1].startswith("spotify_auth.E002: SPOTIFY_CLIENT_ID is missing")


@pytest.mark.parametrize(
    ("uri", "hosts", "words"),
    [
        (
            "http://localhost:8000/spotify/callback/",
            ["localhost"],
            "Spotify does not take http://localhost:8000/spotify/callback/: a host that Spotify "
            "does not take.",
        ),
        (
            "https://example.com/callback",
            ["example.com"],
            "No route here answers https://example.com/callback.",
        ),
        (
            "https://example.com/spotify/callback/",
            ["www.example.com"],
            "The site does not serve example.com, to which Spotify sends users back.",
        ),
        ("http://[::1]:8000/spotify/callback/", ["[::1]"], ""),
    ],
)
def test_the_redirect_uri(settings: Settings, uri: str, hosts: list[str], words: str) -> None:
    settings.SPOTIFY_REDIRECT_URI, settings.ALLOWED_HOSTS = uri, hosts

    said = diagnose("redirect-uri", "checks")

    assert said.bad == ([("problem", words)] if words else [])


def test_how_the_site_is_deployed(settings: Settings) -> None:
    assert diagnose("site").bad == []  # for this machine only
    settings.HTTPS = True
    settings.DEBUG = True

    debug, deployed = diagnose("site").bad

    assert debug == ("problem", "DEBUG is on: error pages show code, and each query is kept.")
    assert deployed[0] == "warning"
    assert "security.W018" in deployed[1]  # DEBUG
