"""Logging in as a browser does, without one."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from django.test import Client
from django.urls import reverse

from spotify_auth.accounts_service import authorization
from spotify_auth.models import LoginAttempt
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


@dataclass
class Old:
    """A login that is under way since before an upgrade."""

    parameters: dict[str, str]
    cookie_name: str
    cookie: str


def begin_in_the_previous_version(*, door: str, for_user: str, switch: bool) -> Old:
    """What a process of the previous version leaves: a row, and a cookie in the browser."""
    state, cookie = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    verifier = authorization.new_code_verifier()
    state_digest = hashlib.sha256(state.encode()).hexdigest()
    LoginAttempt.objects.create(
        state_digest=state_digest,
        browser_digest=hashlib.sha256(cookie.encode()).hexdigest(),
        code_verifier=verifier,
        next_url="/next/",
        door=door,
        for_user=for_user,
        switch=switch,
    )
    url = authorization.authorize_url(state=state, code_verifier=verifier, show_dialog=switch)
    return Old(
        parameters=dict(parse_qsl(urlsplit(url).query)),
        cookie_name=f"login_{state_digest[:16]}",
        cookie=cookie,
    )
