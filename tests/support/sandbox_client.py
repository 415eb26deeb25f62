"""The sandbox that adopters' tests have too, and what our own say to it."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from spotify_auth.testing.sandbox import TIMEOUT_SECONDS, Sandbox, SandboxError, decide

__all__ = [
    "REDIRECT_URI",
    "SCOPES",
    "TIMEOUT_SECONDS",
    "Sandbox",
    "SandboxError",
    "decide",
    "sent_refresh",
]

REDIRECT_URI = "http://127.0.0.1:8000/spotify/callback/"
SCOPES = "user-top-read user-read-recently-played user-read-currently-playing playlist-read-private"


@contextmanager
def sent_refresh(sandbox: Sandbox, refresh_token: str) -> Iterator[HTTPConnection]:
    """A refresh that is on its way, without a client library's patience; the client then leaves."""
    address = urlsplit(sandbox.url)
    connection = HTTPConnection(f"{address.hostname}:{address.port}", timeout=30)
    secret = b64encode(f"{Sandbox.client_id}:{Sandbox.client_secret}".encode()).decode()
    with closing(connection):
        connection.request(
            "POST",
            "/api/token",
            urlencode({"grant_type": "refresh_token", "refresh_token": refresh_token}),
            {
                "Authorization": f"Basic {secret}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        yield connection
