"""The answer to a browser that has tried too many passwords: 429, and words."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers

from accounts.password_tries import LockedOut


class LockedOutMiddleware:
    """Answers `LockedOut`, whichever page asked for the password."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django's hook for exceptions of views."""
        if not isinstance(error, LockedOut):
            return None
        minutes = -(-error.seconds // 60)
        context = {"minutes": minutes, "seconds": error.seconds}
        page = render(request, "429.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
        page["Retry-After"] = str(error.seconds)
        add_never_cache_headers(page)
        return page
