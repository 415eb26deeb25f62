"""A requests.Session for one user, whose token is read at each call."""

import time
from typing import Any

import requests

from spotify_auth.tokens import UserOrId
from spotify_auth.web_api import budget, reading, transport
from spotify_auth.web_api.errors import Unauthorized
from spotify_auth.web_api.response import SpotifyResponse


class SpotifySession(requests.Session):
    """Calls the Web API for one user; use `session_for`.

    Of requests' options for sending, only `stream` is heeded: time-outs, the proxy and
    redirects are decided here, and hooks are not called. It is cheap: the connections are
    shared by all.
    """

    def __init__(self, user: UserOrId, *, requested_by: str = "") -> None:
        super().__init__()
        self.trust_env = False  # a .netrc must not replace the token
        self._user = user
        self._requested_by = requested_by

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Do as requests does, for paths such as "/me" too."""
        request.url = transport.address_of(request.url)
        return super().prepare_request(request)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> SpotifyResponse:
        """Read the token, send the request, and look again if the token was refused."""
        deadline = time.monotonic() + transport.CALL_SECONDS
        stream = bool(kwargs.get("stream"))
        token = reading.read(self._user, requested_by=self._requested_by)
        budget.take(1)
        try:
            return transport.send(
                request, access_token=token.value, deadline=deadline, stream=stream
            )
        except Unauthorized:
            newer = reading.after_unauthorized(
                self._user, token, deadline=deadline, requested_by=self._requested_by
            )
            # A body that is read from a file is used up.
            if newer is None or not isinstance(request.body, bytes | str | None):
                raise
        try:
            return transport.send(
                request, access_token=newer.value, deadline=deadline, stream=stream
            )
        except Unauthorized:
            reading.refused(self._user, newer, requested_by=self._requested_by)
            raise


def session_for(user: UserOrId, *, requested_by: str = "") -> SpotifySession:
    """A session that calls the Web API as this user, for example `.get("/me")`.

    `user` is a user or a primary key. Each call reads the token from the database, takes
    8 s at the most, and raises TokenUnavailable, WebApiError or, for an address that is
    not the Web API's, ForeignAddress; what it returns is an answer of 2xx or 304, whose
    `.json()` is None when Spotify has nothing to say, and raises Unavailable for what is no JSON.
    `requested_by` names the page in the token's history, if the call leads to a refresh.
    """
    return SpotifySession(user, requested_by=requested_by)
