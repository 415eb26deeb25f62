"""`spotify_required`: a view that runs only with a fresh token, and what others see instead."""

import functools
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, cast, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.apps import apps
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers

from spotify_auth import connection_state, htmx, pages
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
AsyncView = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponse]]
AnyView = Callable[..., HttpResponseBase]
"""What `as_view()` returns, of either kind."""

WAITING_PAGE, WAITING_PART = "spotify-waiting-page", "spotify-waiting"
"""Names of the elements that ask again while the access is being renewed."""

RELOAD_BESIDE_HTMX_SECONDS = 30
"""When a waiting page reloads itself on a site with htmx: in case that its polling fails."""


class _EitherView(Protocol):
    """What decorates a view of either kind."""

    @overload
    def __call__(self, view: View[P], /) -> View[P]: ...
    @overload
    def __call__(self, view: AsyncView[P], /) -> AsyncView[P]: ...
    @overload
    def __call__(self, view: AnyView, /) -> AnyView: ...


@overload
def spotify_required(view: View[P]) -> View[P]: ...


@overload
def spotify_required(view: AsyncView[P]) -> AsyncView[P]: ...


@overload
def spotify_required(view: AnyView) -> AnyView: ...


@overload
def spotify_required(*, scopes: Collection[str] = ...) -> _EitherView: ...


def spotify_required(view: Any = None, *, scopes: Collection[str] = ()) -> Any:
    """Run the view only for a user whose Spotify access is fresh and covers `scopes`.

    Everybody else is answered in the form that the request asks for: a page that says
    what to do and, while the access is being renewed, goes on by itself; for htmx the
    same as a part of a page; for a program JSON with a status and a `code`. So are the
    errors of the read side (TokenUnavailable, WebApiError) that the view lets through.

    An `async def` view is answered for in the same way. When it runs, `request.user` is
    loaded, and `{% spotify_connection %}` knows what was read: its templates need no thread.
    """
    if view is None:
        return functools.partial(_guarded, scopes=frozenset(scopes))
    return _guarded(view, scopes=frozenset(scopes))


def _guarded(view: View[P] | AsyncView[P], *, scopes: frozenset[str]) -> View[P] | AsyncView[P]:
    guarded: Any
    if iscoroutinefunction(view):
        guarded = _async_guarded(cast(AsyncView[P], view), scopes=scopes)
    else:
        guarded = _sync_guarded(cast(View[P], view), scopes=scopes)
    guarded.spotify_scopes = scopes  # `manage.py check` compares them with SPOTIFY_SCOPES
    return cast(View[P] | AsyncView[P], guarded)


def _sync_guarded(view: View[P], *, scopes: frozenset[str]) -> View[P]:
    @functools.wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            try:
                stopped = _stopped(request, scopes)
            except SynchronousOnlyOperation:
                raise SynchronousOnlyOperation(
                    "@spotify_required cannot see that what it decorates is async, as by "
                    "method_decorator: decorate the view as a whole, "
                    "`spotify_required(Player.as_view())`."
                ) from None
            return stopped or view(request, *args, **kwargs)
        except (TokenUnavailable, WebApiError) as error:
            return _answer(request, problem_of(error))

    return wrapper


def _async_guarded(view: AsyncView[P], *, scopes: frozenset[str]) -> AsyncView[P]:
    @functools.wraps(view)
    async def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            # One change of threads for the user, the token, and the page that says what is wrong.
            stopped = await sync_to_async(_stopped)(request, scopes, keeps=True)
            return stopped or await view(request, *args, **kwargs)
        except (TokenUnavailable, WebApiError) as error:
            return await sync_to_async(_answer)(request, problem_of(error))

    return wrapper


def _stopped(
    request: HttpRequest, scopes: frozenset[str], *, keeps: bool = False
) -> HttpResponse | None:
    """The answer to whom the view is not for; None if it may run. Raises TokenUnavailable.

    With `keeps` the templates of this request show what was read here.
    """
    if not request.user.is_authenticated:
        return _to_log_in(request)
    token = reading.read(request.user, requested_by=reading.page_of(request))
    missing = scopes - token.scopes
    if missing:
        return _answer(request, missing_scopes(missing))
    if htmx.is_htmx(request) and htmx.trigger_of(request) == WAITING_PAGE:
        return htmx.reload_whole_page()
    if keeps:
        connection_state.keep(request, token)
    return None


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
        response = HttpResponse(pages.text_of(name, context, request=request))
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
