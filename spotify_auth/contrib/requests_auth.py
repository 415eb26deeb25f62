"""requests: `requests.get(address, auth=SpotifyAuth(user))`.

`web_api.session_for(user)` does more: it bounds the call, keeps to the pace and knows Spotify's
errors. This is for code that has a session of its own.
"""

import time
from functools import partial
from typing import Any

import requests
from requests.auth import AuthBase

from spotify_auth.tokens import AccessToken, UserOrId
from spotify_auth.web_api import reading, transport


class SpotifyAuth(AuthBase):
    """Reads a user's token at each request, and looks again, once, if it is refused.

    `user` is a user or a primary key; `requested_by` names the page in the token's history.
    Raises what `tokens.access_token_for` raises, and ForeignAddress for an address that is not
    the Web API's. The token stays in no response.
    """

    def __init__(self, user: UserOrId, *, requested_by: str = "") -> None:
        self._user, self._requested_by = user, requested_by

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give the request a token, and have its answer looked at."""
        transport.require_web_api(request.url or "")
        token = reading.read(self._user, requested_by=self._requested_by)
        _authorise(request, token)
        hook = partial(self._answered, token)
        request.register_hook("response", hook)  # type: ignore[no-untyped-call]
        return request

    def _answered(
        self, token: AccessToken, response: requests.Response, **options: Any
    ) -> requests.Response:
        sent = response.request
        if response.is_redirect:
            # requests goes on with the request itself, and takes the token off where that leads
            # to another host.
            sent = response.request = sent.copy()
        self._forget(sent)
        if response.status_code != 401 or not transport.is_web_api(sent.url or ""):
            return response
        deadline = time.monotonic() + transport.CALL_SECONDS
        newer = reading.after_unauthorized(
            self._user, token, deadline=deadline, requested_by=self._requested_by
        )
        # A body that is read from a file is used up.
        if newer is None or not isinstance(sent.body, bytes | str | None):
            return response
        response.content  # noqa: B018  (read to its end, its connection serves again)
        response.close()
        again = sent.copy()
        _authorise(again, newer)
        answer: requests.Response = response.connection.send(again, **options)
        self._forget(again)
        answer.history.append(response)
        if answer.status_code == 401:
            reading.refused(self._user, newer, requested_by=self._requested_by)
        return answer

    def _forget(self, request: requests.PreparedRequest) -> None:
        """Take off a request the token, and the hook that has it: responses are pickled with it."""
        request.headers.pop("Authorization", None)
        hooks = request.hooks["response"]
        # Another list: requests is about to go on through this one.
        others = [hook for hook in hooks if getattr(hook, "func", None) != self._answered]
        request.hooks = {"response": others}


def _authorise(request: requests.PreparedRequest, token: AccessToken) -> None:
    request.headers["Authorization"] = f"Bearer {token.value}"
