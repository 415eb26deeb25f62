"""The callback's query, out of sight of whoever reports or logs requests.

`/spotify/callback/?code=…&state=…` carries a code, and reporters such as Sentry send the query
with every error, some before a view has run. So it is taken out of the WSGI environment, or of the
ASGI scope, before Django, and what hooks itself into Django, sees it. Only `request.GET` knows it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import QueryDict
from django.utils.functional import cached_property

_PLACE = "keeper.query"
_COPIES = {"RAW_URI", "REQUEST_URI"}
"""Where web servers keep the whole address besides."""


class _Hidden:
    """A text that shows nothing of itself."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<hidden>"


class _Request(WSGIRequest):
    """Django's request, whose GET knows a hidden query."""

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # noqa: N802  (Django's name)
        hidden = self.environ.get(_PLACE)
        query = hidden.text if hidden else self.environ.get("QUERY_STRING", "")
        return QueryDict(query.encode("iso-8859-1"), encoding=self.encoding)


class Handler(WSGIHandler):
    """Django's WSGI application for these requests."""

    request_class = _Request


def hides_query(
    application: Callable[..., Iterable[bytes]],
) -> Callable[..., Iterable[bytes]]:
    """An application that finds the callback's query in `request.GET` alone."""
    callback = urlsplit(settings.SPOTIFY_REDIRECT_URI).path

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == callback and environ.get("QUERY_STRING"):
            environ[_PLACE] = _Hidden(environ["QUERY_STRING"])
            environ["QUERY_STRING"] = ""
            # Not removed: gunicorn writes its line of the log from them.
            environ |= dict.fromkeys(environ.keys() & _COPIES, callback)
        return application(environ, start_response)

    return call


class _AsgiRequest(ASGIRequest):
    """Django's request of an ASGI server, whose GET knows a hidden query."""

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # noqa: N802  (Django's name)
        hidden = self.scope.get(_PLACE)
        query = hidden.text if hidden else self.META["QUERY_STRING"]
        return QueryDict(query, encoding=self.encoding)


class AsgiHandler(ASGIHandler):
    """Django's ASGI application for these requests."""

    request_class = _AsgiRequest


def hides_query_of_asgi(
    application: Callable[..., Awaitable[None]],
) -> Callable[..., Awaitable[None]]:
    """The same for an ASGI application. The server's own line of the log has no query either."""
    callback = urlsplit(settings.SPOTIFY_REDIRECT_URI).path

    async def call(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope.get("path") == callback and scope.get("query_string"):
            # In place: uvicorn writes its line from this very scope.
            scope[_PLACE] = _Hidden(scope["query_string"].decode("latin-1"))
            scope["query_string"] = b""
        await application(scope, receive, send)

    return call
