"""Spotify: whether it takes our client credentials, and what its clock says."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import requests

from spotify_auth import cooldown, http_client
from spotify_auth.accounts_service.answers import (
    Answer,
    AnswerLost,
    ClientRefused,
    Granted,
    RateLimited,
    Unavailable,
)
from spotify_auth.accounts_service.client_credentials import ask
from spotify_auth.conf import settings
from spotify_auth.cooldown import Reason
from spotify_auth.doctor.findings import Finding, ok, problem, warning
from spotify_auth.failure_codes import FailureCode
from spotify_auth.text import for_the_log

CLOCKS_MAY_DIFFER = 5.0
"""Seconds. A Date has whole seconds, and travels."""
DATE_SECONDS = 5.0

_DASHBOARD = "https://developer.spotify.com/dashboard"


def look_at_credentials() -> Iterator[Finding]:
    """Spotify gives this application a token of its own: id and secret are right."""
    if cooldown.reason() == Reason.RATE_LIMITED and cooldown.left():
        yield warning(
            "Spotify limits this application at the moment, so it was not asked.",
            f"Wait {cooldown.left():.0f} s, and run the doctor again.",
        )
        return
    yield _about(ask())


def _about(answer: Answer) -> Finding:
    where = settings.SPOTIFY_ACCOUNTS_URL
    match answer:
        case Granted():
            return ok(f"{where} accepts the client credentials.")
        case ClientRefused(code="invalid_client"):
            words = f" {for_the_log(answer.description)}" if answer.description else ""
            return problem(
                f"Spotify refuses the client credentials (invalid_client{words}).",
                "Copy SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET again from the app's page on "
                f"{_DASHBOARD}, and restart every process. No token is refreshed until then.",
            )
        case ClientRefused() | Unavailable(code="http_401" | "http_403"):
            return problem(
                f"Spotify knows the credentials, and serves this app no longer ({answer.code}).",
                f"Look at the app on {_DASHBOARD}: is it paused, blocked or deleted?",
            )
        case RateLimited():
            return warning(
                "Spotify limits this application (429).",
                "Wait. Workers slow down by themselves; another program with the same client ID "
                "counts too.",
            )
        case AnswerLost(code=FailureCode.TIMEOUT):
            return problem(
                f"{where} took the request, and did not answer within "
                f"{settings.TOKEN_ENDPOINT_DEADLINE_SECONDS:g} s.",
                "Wait, and look at what stands in between. Workers try again by themselves.",
            )
        case Unavailable(code=FailureCode.CERTIFICATE_REFUSED):
            return problem(
                f"The certificate of {where} is not to be trusted.",
                "Look at this host's clock and certificates, and whether a proxy opens TLS.",
            )
        case Unavailable(code=code) if code.startswith("http_"):
            return problem(
                f"{where} answers {code.removeprefix('http_')} instead of a token.",
                "Wait: this is Spotify's fault. Workers try again by themselves.",
            )
        case Unavailable() | AnswerLost():
            return problem(
                f"{where} is not reached ({answer.code}).",
                "Look at SPOTIFY_ACCOUNTS_URL, OUTBOUND_PROXY_URL, the name service and the "
                "firewall of this host.",
            )
        case _:
            return problem(
                f"{where} answers, but not as Spotify does ({answer.code}).",
                "Look at SPOTIFY_ACCOUNTS_URL: does it lead to Spotify?",
            )


def look_at_clock() -> Iterator[Finding]:
    """Spotify's Date against this host's clock."""
    http = http_client.session_of_this_thread(total_seconds=DATE_SECONDS)
    request = requests.Request("HEAD", f"{settings.SPOTIFY_ACCOUNTS_URL}/").prepare()
    before = time.time()
    try:
        answer = http.send(request)
    except requests.RequestException as error:
        yield problem(
            f"{settings.SPOTIFY_ACCOUNTS_URL} is not reached ({type(error).__name__}).",
            "The line credentials says more.",
        )
        return
    here = (before + time.time()) / 2
    try:
        ahead = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() + 0.5 - here
    except ValueError:
        yield warning(
            "Spotify's answer has no Date.",
            "Look at what stands in between: Spotify sends one.",
        )
        return
    if abs(ahead) > CLOCKS_MAY_DIFFER:
        yield warning(
            f"This host's clock is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} "
            "Spotify's.",
            "Let NTP set it. No token's lifetime goes by it; log lines and certificates do.",
        )
        return
    yield ok("This host's clock and Spotify's agree.")
