"""Middleware for both kinds of server: WSGI, and ASGI without a change of thread.

A middleware that knows the sync way only would make Django answer every request of an ASGI
server in a thread, even one whose view is `async def`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

GetResponse: TypeAlias = Callable[[HttpRequest], HttpResponse]
AsyncGetResponse: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]


class BothWays:
    """A middleware that Django calls in the way of what it wraps.

    By itself it only passes on: a subclass has `answer` and `aanswer`, which do the same, or
    other methods of Django's middlewares.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)  # by this Django knows

    def __call__(self, request: HttpRequest) -> Any:
        """The response; of what is async, an awaitable of it."""
        if self._is_async:
            return self.aanswer(request, cast(AsyncGetResponse, self._get_response))
        return self.answer(request, cast(GetResponse, self._get_response))

    def answer(self, request: HttpRequest, get_response: GetResponse) -> HttpResponse:
        """Answer a request."""
        return get_response(request)

    async def aanswer(self, request: HttpRequest, get_response: AsyncGetResponse) -> HttpResponse:
        """The same in an event loop, which must not wait."""
        return await get_response(request)
