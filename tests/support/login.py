"""Logging in as a browser does, without one."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from django.test import Client
from django.urls import reverse

from tests.support.sandbox_client import Sandbox

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response


def begin(browser: Client, **form: str) -> dict[str, str]:
    """Press the log-in button; the parameters with which Spotify is called."""
    response = browser.post(reverse("accounts:login"), form)
    assert response.status_code == 302
    return dict(parse_qsl(urlsplit(response["Location"]).query))


def approve(spotify: Sandbox, parameters: dict[str, str], persona: str = "user-1") -> str:
    """Agree on Spotify's page; the address that Spotify sends the browser to."""
    address = urlsplit(spotify.authorize(parameters, persona))
    return f"{address.path}?{address.query}"


def log_in(browser: Client, spotify: Sandbox, persona: str = "user-1") -> "Response":
    """Log in through Spotify and back; the answer to the callback."""
    return browser.get(approve(spotify, begin(browser), persona))
