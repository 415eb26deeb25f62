"""httpx and httpx2: `auth=auth_for(httpx, user)`, for clients of both kinds.

httpx2 goes on where httpx has stopped, with a base class of its own: so the library is given, and
this module imports neither.
"""

import time
from collections.abc import AsyncGenerator, Generator
from functools import cache
from types import ModuleType
from typing import Any

from asgiref.sync import sync_to_async

from spotify_auth.tokens import AccessToken, UserOrId
from spotify_auth.web_api import reading, transport


def auth_for(library: ModuleType, user: UserOrId, *, requested_by: str = "") -> Any:
    """What `auth=` of a client, or of one call, takes: it reads the user's token at each request.

    `library` is the module httpx or httpx2; `user` is a user or a primary key; `requested_by`
    names the page in the token's history. If the token is refused, it looks again, once. A
    request raises what `tokens.access_token_for` raises, and ForeignAddress for an address that
    is not the Web API's. The token stays in no request.
    """
    return _auth_class(library.Auth)(user, requested_by)


@cache
def _auth_class(base: Any) -> Any:
    class SpotifyAuth(base):  # type: ignore[misc]  # a class of either library
        def __init__(self, user: UserOrId, requested_by: str) -> None:
            self._user, self._page = user, requested_by

        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            transport.require_web_api(str(request.url))
            request.read()  # so that it can be sent once more
            token = reading.read(self._user, requested_by=self._page)
            try:
                if _bare((yield _with(request, token))).status_code != 401:
                    return
                newer = reading.after_unauthorized(
                    self._user, token, deadline=_deadline(), requested_by=self._page
                )
                if newer and _bare((yield _with(request, newer))).status_code == 401:
                    reading.refused(self._user, newer, requested_by=self._page)
            finally:
                request.headers.pop("Authorization", None)

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            transport.require_web_api(str(request.url))
            await request.aread()
            token = await reading.aread(self._user, requested_by=self._page)
            try:
                if _bare((yield _with(request, token))).status_code != 401:
                    return
                newer = await reading.aafter_unauthorized(
                    self._user, token, deadline=_deadline(), requested_by=self._page
                )
                if newer and _bare((yield _with(request, newer))).status_code == 401:
                    await sync_to_async(reading.refused)(self._user, newer, requested_by=self._page)
            finally:
                request.headers.pop("Authorization", None)

    return SpotifyAuth


def _with(request: Any, token: AccessToken) -> Any:
    request.headers["Authorization"] = f"Bearer {token.value}"
    return request


def _bare(response: Any) -> Any:
    """The response without the token, which its client has copied where it was redirected."""
    further = [response.next_request] if response.next_request else []
    for request in (*further, *(each.request for each in (response, *response.history))):
        request.headers.pop("Authorization", None)
    return response


def _deadline() -> float:
    return time.monotonic() + transport.CALL_SECONDS
