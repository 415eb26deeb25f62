"""The Web API for async code: what `web_api.async_session_for` returns, over httpx or httpx2.

As httpx's bridge beside it, this module imports neither until a session is asked for.
"""

import asyncio
import importlib
import ssl
import time
from collections.abc import AsyncIterator
from functools import cache
from types import ModuleType
from typing import Any

import certifi
from asgiref.sync import sync_to_async

from spotify_auth.accounts_service import spotify
from spotify_auth.conf import settings
from spotify_auth.contrib.httpx import auth_for
from spotify_auth.http_client import LARGEST_ANSWER_BYTES
from spotify_auth.tokens import UserOrId
from spotify_auth.web_api import budget, pause, transport
from spotify_auth.web_api.endpoints import endpoint_of
from spotify_auth.web_api.errors import Unauthorized, Unavailable

LIBRARIES = ("httpx", "httpx2")
_COUNTED = "spotify_auth.counted"
"""Marks a request that is sent once more, after a 401: the budget has counted it."""
_DEADLINE = "spotify_auth.deadline"
"""Until when a request, and what streams of its answer, may last, by `time.monotonic()`."""


def async_session_for(
    user: UserOrId, *, requested_by: str = "", library: ModuleType | None = None
) -> Any:
    """See `web_api.async_session_for`."""
    library = library or _installed()
    return _session_class(library)(user, requested_by)


def _installed() -> ModuleType:
    for name in LIBRARIES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError("async_session_for needs httpx or httpx2: pip install httpx")


@cache
def _session_class(library: Any) -> Any:
    wire = _wire_class(library)

    class SpotifyAsyncSession(library.AsyncClient):  # type: ignore[misc]  # of either library
        """An AsyncClient for one user. Of the options for sending only `stream` is heeded."""

        def __init__(self, user: UserOrId, requested_by: str) -> None:
            proxy = settings.OUTBOUND_PROXY_URL or None
            super().__init__(
                base_url=f"{settings.SPOTIFY_API_URL}{spotify.API_VERSION_PATH}",
                transport=wire(library.AsyncHTTPTransport(verify=_trust(), proxy=proxy)),
                timeout=transport.CALL_SECONDS,
                trust_env=False,  # a .netrc must not replace the token
            )
            self._auth_of_user = auth_for(library, user, requested_by=requested_by)

        async def send(self, request: Any, *, stream: bool = False, **_: Any) -> Any:
            """Read the token, send the request, and look again if the token was refused."""
            request.extensions[_DEADLINE] = time.monotonic() + transport.CALL_SECONDS
            try:
                async with asyncio.timeout(transport.CALL_SECONDS):
                    response = await super().send(
                        request, stream=stream, auth=self._auth_of_user, follow_redirects=False
                    )
            except (TimeoutError, library.HTTPError):
                # `from None`: the chained error carries the request.
                raise Unavailable("no answer") from None
            if response.status_code == 401:
                await response.aclose()
                raise Unauthorized("401")
            return response

    return SpotifyAsyncSession


@cache
def _wire_class(library: Any) -> Any:
    class SpotifyAsyncResponse(library.Response):  # type: ignore[misc]
        """A Response whose body raises no error but `Unavailable`."""

        def json(self, **options: Any) -> Any:
            """The answer's JSON, or None if Spotify has nothing to say."""
            if not self.content.strip():
                return None
            try:
                return super().json(**options)
            except (ValueError, RecursionError):
                raise Unavailable("not JSON") from None

        async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
            """As httpx does, for what is read at once too. Within the deadline of the call."""
            size, deadline = 0, self.extensions[_DEADLINE]
            try:
                async for part in super().aiter_bytes(chunk_size):
                    size += len(part)
                    if size > LARGEST_ANSWER_BYTES or time.monotonic() > deadline:
                        await self.aclose()
                        raise Unavailable("the answer is too large, or too slow")
                    yield part
            except library.HTTPError:
                raise Unavailable("the answer was cut short") from None

    class Wire(library.AsyncBaseTransport):  # type: ignore[misc]
        """Sends one request, in the Web API's own pace; raises what an answer stands for."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def handle_async_request(self, request: Any) -> Any:
            """An answer of 2xx, 304 or 401, the last for who may look for a newer token."""
            endpoint = endpoint_of(str(request.url))
            # Both may ask Redis.
            await sync_to_async(_count)(endpoint, again=_COUNTED in request.extensions)
            request.extensions[_COUNTED] = True
            began = time.monotonic()
            inner = await self._inner.handle_async_request(request)
            response = SpotifyAsyncResponse(
                inner.status_code,
                headers=inner.headers,
                stream=inner.stream,
                extensions={
                    **inner.extensions,
                    _DEADLINE: request.extensions[_DEADLINE],
                },
            )
            if response.is_success or response.status_code in {304, 401}:
                return response
            try:
                await response.aread()
            except Unavailable:
                # An error's status counts also without its words.
                response = library.Response(response.status_code, headers=response.headers)
            raise await sync_to_async(transport.failure_of)(
                response, endpoint=endpoint, began=began
            )

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Wire


def _count(endpoint: str, *, again: bool) -> None:
    if not again:
        budget.take(1)
    pause.check(endpoint)


@cache
def _trust() -> ssl.SSLContext:
    """Made once: it costs more than a call."""
    return ssl.create_default_context(cafile=certifi.where())
