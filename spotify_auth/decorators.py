"""`spotify_required`: a view that runs only with a fresh token, and what others see instead."""

import functools
from collections.abc import Callable, Collection
from typing import Concatenate, ParamSpec, overload

from django.apps import apps
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers

from spotify_auth import htmx
from spotify_auth.problems import (
    NOT_LOGGED_IN,
    RECONNECTING,
    RETRY_SECONDS,
    Problem,
    missing_scopes,
    problem_of,
)
from spotify_auth.tokens import TokenUnavailable
from spotify_auth.web_api import reading
from spotify_auth.web_api.errors import WebApiError

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

WAITING_PAGE, WAITING_PART = "spotify-waiting-page", "spotify-waiting"
"""Names of the elements that ask again while the access is being renewed."""

RELOAD_BESIDE_HTMX_SECONDS = 30
"""When a waiting page reloads itself on a site with htmx: in case that its polling fails."""


@overload
def spotify_required(view: View[P]) -> View[P]: ...


@overload
def spotify_required(*, scopes: Collection[str] = ...) -> Callable[[View[P]], View[P]]: ...


def spotify_required(
    view: View[P] | None = None, *, scopes: Collection[str] = ()
) -> View[P] | Callable[[View[P]], View[P]]:
    """Run the view only for a user whose Spotify access is fresh and covers `scopes`.

    Everybody else is answered in the form that the request asks for: a page that says
    what to do and, while the access is being renewed, goes on by itself; for htmx the
    same as a part of a page; for a program JSON with a status and a `code`. So are the
    errors of the read side (TokenUnavailable, WebApiError) that the view lets through.
    """
    if view is None:
        return functools.partial(_guarded, scopes=frozenset(scopes))
    return _guarded(view, scopes=frozenset(scopes))


def _guarded(view: View[P], *, scopes: frozenset[str]) -> View[P]:
    @functools.wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_log_in(request)
        try:
            token = reading.read(request.user, requested_by=reading.page_of(request))
            missing = scopes - token.scopes
            if missing:
                return _answer(request, missing_scopes(missing))
            if htmx.is_htmx(request) and htmx.trigger_of(request) == WAITING_PAGE:
                return htmx.reload_whole_page()
            return view(request, *args, **kwargs)
        except (TokenUnavailable, WebApiError) as error:
            return _answer(request, problem_of(error))

    return wrapper


def _to_log_in(request: HttpRequest) -> HttpResponse:
    if _wants_json(request):
        return NOT_LOGGED_IN.as_json()
    response = redirect_to_login(_page(request))
    # htmx would put the whole login page where the part belongs.
    return htmx.redirect_whole_page(response.url) if htmx.is_htmx(request) else response


def _answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    if _wants_json(request):
        return problem.as_json()
    is_part = htmx.is_htmx(request)
    waits = problem is RECONNECTING
    if waits and is_part and htmx.trigger_of(request) in {WAITING_PAGE, WAITING_PART}:
        # It shows this already, and should not say it again.
        response = HttpResponse(status=204)
    else:
        name = "_problem.html" if is_part else "problem.html"
        context = {
            "problem": problem,
            "page": _page(request),
            "waiting": WAITING_PART if is_part else WAITING_PAGE,
            # A form is not sent again by itself.
            "ask_again": request.get_full_path() if request.method == "GET" else "",
        }
        response = render(request, f"spotify_auth/{name}", context)
        if waits and not is_part and request.method == "GET":
            uses_htmx = apps.is_installed("django_htmx")
            response["Refresh"] = str(RELOAD_BESIDE_HTMX_SECONDS if uses_htmx else RETRY_SECONDS)
    add_never_cache_headers(response)
    return response


def _wants_json(request: HttpRequest) -> bool:
    """Whether a program asks: one that prefers JSON, or sends it."""
    if htmx.is_htmx(request):
        return False
    preferred = request.get_preferred_type(["text/html", "application/json"])
    return "application/json" in {preferred, request.content_type}


def _page(request: HttpRequest) -> str:
    """Where the user is, and comes back to after a login."""
    return (htmx.page_of(request) or "/") if htmx.is_htmx(request) else request.get_full_path()
