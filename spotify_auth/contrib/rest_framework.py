"""Django REST framework: problems with a user's access to Spotify, as answers of an API.

    REST_FRAMEWORK = {
        "EXCEPTION_HANDLER": "spotify_auth.contrib.rest_framework.exception_handler",
    }

A view may then let TokenUnavailable and WebApiError through. The answers have the status, the
`code` and the Retry-After that `spotify_required` gives to programs.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from django.db import connection
from django.utils.cache import add_never_cache_headers
from rest_framework import views
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from spotify_auth.problems import RECONNECTING, Problem, missing_scopes, problem_of
from spotify_auth.tokens import TokenUnavailable, UserOrId
from spotify_auth.web_api import reading
from spotify_auth.web_api.errors import Unauthorized, WebApiError

Handler: TypeAlias = Callable[[Exception, Mapping[str, Any]], Response | None]
"""What REST framework's EXCEPTION_HANDLER names: an error and its context in, an answer out."""


class SpotifyProblem(APIException):  # type: ignore[misc]  # the library has no types
    """A problem as an error of REST framework's: its handlers know status, body and wait."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.body(), code=problem.code)
        self.problem = problem
        self.status_code = problem.status
        self.wait = problem.retry_after


class HasSpotify(BasePermission):  # type: ignore[misc]  # the library has no types
    """Lets a request through whose user has a fresh access token; it is one SELECT.

    A user without one is told why, as by `spotify_required`; a visitor is refused as by
    `IsAuthenticated`. `HasSpotify.with_scopes("user-top-read")` asks for these scopes too.
    """

    scopes: frozenset[str] = frozenset()

    @classmethod
    def with_scopes(cls, *scopes: str) -> "type[HasSpotify]":
        """The permission for a view that needs what these scopes allow."""
        return type(cls.__name__, (cls,), {"scopes": frozenset(scopes)})

    def has_permission(self, request: Request, view: views.APIView) -> bool:
        """Whether the view may run. Raises SpotifyProblem."""
        if not (request.user and request.user.is_authenticated):
            return False
        try:
            token = reading.read(request.user, requested_by=reading.page_of(request))
        except TokenUnavailable as error:
            raise SpotifyProblem(problem_of(error)) from error
        if missing := self.scopes - token.scopes:
            raise SpotifyProblem(missing_scopes(missing))
        return True


def around(handler: Handler) -> Handler:
    """An exception handler that leaves to this one what to make of a SpotifyProblem, and all else.

    For projects with a handler of their own; nobody may keep what it answers of Spotify.
    """

    def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
        if isinstance(error, TokenUnavailable | WebApiError):
            problem = SpotifyProblem(problem_of(error))
            problem.__cause__ = error
            error = problem
        response = handler(error, context)
        if response is not None and isinstance(error, SpotifyProblem):
            add_never_cache_headers(response)
            if error.problem is RECONNECTING and connection.in_atomic_block:
                # With ATOMIC_REQUESTS the handler rolls back, also the nudge. A response is
                # rendered after that.
                was_refused = isinstance(error.__cause__, Unauthorized)
                user = context["request"].user
                response.add_post_render_callback(lambda _: _nudge(user, was_refused=was_refused))
        return response

    return handle


def _nudge(user: UserOrId, *, was_refused: bool) -> None:
    """Ask for a refresh once more. What was noted already changes nothing."""
    with suppress(TokenUnavailable):
        token = reading.read(user)  # nudges one that is stale
        if was_refused:
            reading.refused(user, token)


exception_handler: Handler = around(views.exception_handler)
