"""Connecting Spotify to the user who is logged in, and disconnecting: interfaces only.

A project whose users log in by their Spotify account has another door of its own, and uses
`to_spotify`, `come_back` and `store` for it: Spotify sends both back to one address.
"""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import DatabaseError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from spotify_auth import connections, login, login_rows, pages
from spotify_auth.client_address import client_address
from spotify_auth.conf import settings
from spotify_auth.database_fault_pages import answer_to
from spotify_auth.database_faults import Fault, fault_of
from spotify_auth.login import Completed, Door
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.login_problems import WORDS, Words
from spotify_auth.models import UserId
from spotify_auth.secrecy import forgets_variables
from spotify_auth.throttles import callbacks, logins, throttled

logger = logging.getLogger(__name__)

Doors: TypeAlias = Mapping[str, Callable[[HttpRequest, Completed], HttpResponse]]
"""What completes a login, for each door that may have begun it. May raise LoginFailed."""

TOO_LATE = (
    "Spotify was connected or disconnected a second time while this login was under way. "
    "The later one counts, so this login changed nothing."
)


@require_POST
@never_cache
@throttled(logins)
def connect(request: HttpRequest) -> HttpResponse:
    """Send the browser to Spotify, to connect an account to the user who is logged in."""
    if not request.user.is_authenticated:
        return _to_login(request)
    return to_spotify(request, door=Door.CONNECT, next_url=safe_next(request))


@require_GET
@never_cache
@throttled(callbacks)
def callback(request: HttpRequest) -> HttpResponse:
    """Take the browser back from Spotify, and store the grant for the user who began."""
    return come_back(request, doors={Door.CONNECT: connect_user}, words=WORDS)


@require_POST
@never_cache
def disconnect(request: HttpRequest) -> HttpResponse:
    """Erase our copy of the user's tokens; 503 if an exchange keeps their row for too long."""
    if not request.user.is_authenticated:
        return _to_login(request)
    try:
        connections.disconnect(user_id=request.user.pk)
    except DatabaseError as error:
        answer = answer_to(request, error)
        if answer is None:
            raise
        return answer
    return redirect(safe_next(request) or connection_url())


@forgets_variables
def to_spotify(
    request: HttpRequest, *, door: Door, next_url: str, renew: bool = False
) -> HttpResponse:
    """A redirect to Spotify with a state and a PKCE challenge.

    The login is for this browser and for whoever is logged in now, or for nobody. `renew`: a
    visitor comes for another six months, so that Spotify must ask.
    """
    begun = login.begin(
        door=door,
        next_url=next_url,
        user_id=request.user.pk,
        cookie=request.COOKIES.get(login.cookie_name(), ""),
        renew=renew,
    )
    response = redirect(begun.url)
    _give_cookie(response, begun.cookie)
    return response


@forgets_variables
def come_back(
    request: HttpRequest, *, doors: Doors, words: Mapping[StrEnum, Words]
) -> HttpResponse:
    """Complete a login: check the state, trade the code, and go through the door that began it.

    It always ends in a redirect or in a page that says what went wrong and how to go
    on, so that reloading never repeats the exchange.
    """
    state = request.GET.get("state", "")
    cookie = request.COOKIES.get(login.cookie_name(), "")
    previous_name = login_rows.cookie_name(state)
    keeps_attempt = False
    try:
        completed = login.complete(
            state=state,
            cookie=cookie,
            previous_cookie=request.COOKIES.get(previous_name, ""),
            code=request.GET.get("code", ""),
            error=request.GET.get("error", ""),
            user_id=request.user.pk,
            doors=doors,
        )
        response = doors[completed.door](request, completed)
    except LoginFailed as failure:
        logger.warning("login_failed reason=%s address=%s", failure.reason, client_address(request))
        keeps_attempt = failure.keeps_attempt
        context = {
            "reason": failure.reason.value,
            "problem": words[failure.reason].with_wait(failure.retry_after),
            "connection_url": connection_url(),
            "logged_in": request.user.is_authenticated,
        }
        status = words[failure.reason].status
        page = pages.text_of("login_failed.html", context, request=request)
        response = HttpResponse(page, status=status)
        if failure.retry_after is not None:
            response["Retry-After"] = str(round(failure.retry_after) + 1)
    # This page's address carries the code: no other may be told more than the host.
    # ("no-referrer" would also blank the Origin header, by which Django knows its forms.)
    response["Referrer-Policy"] = "strict-origin"
    if cookie and not keeps_attempt:
        _give_cookie(response, login.without(state, cookie=cookie))
    if previous_name in request.COOKIES:
        path = urlsplit(settings.SPOTIFY_REDIRECT_URI).path
        response.delete_cookie(previous_name, path=path)
    return response


def connect_user(request: HttpRequest, completed: Completed) -> HttpResponse:
    """The connect door: store the grant for the user who is logged in, who began the attempt."""
    store(request, completed, user_id=request.user.pk, from_disconnected=True)
    return redirect(completed.next_url or connection_url())


def store(
    request: HttpRequest,
    completed: Completed,
    *,
    user_id: UserId | None,
    from_disconnected: bool = False,
) -> bool:
    """Store a completed login's grant for a user; False if it came too late, which is told.

    `from_disconnected` is as for `connections.connect`.

    Raises LoginFailed: DIFFERENT_ACCOUNT, LINKED_TO_ANOTHER, LOGGED_OUT_MEANWHILE or BUSY. Any
    other fault of the database is raised as it is.
    """
    if user_id is None:
        raise LoginFailed(Reason.LOGGED_OUT_MEANWHILE)
    try:
        stored = connections.connect(
            user_id=user_id,
            grant=completed.grant,
            issued_at=completed.issued_at,
            account_id=completed.account_id,
            from_disconnected=from_disconnected,
        )
    except connections.DifferentAccount:
        raise LoginFailed(Reason.DIFFERENT_ACCOUNT) from None
    except connections.AccountTaken:
        raise LoginFailed(Reason.LINKED_TO_ANOTHER) from None
    except OperationalError as error:
        if fault_of(error) is not Fault.BUSY:
            raise
        raise LoginFailed(Reason.BUSY) from None
    if not stored:
        # A project without messages goes without: nothing is wrong.
        messages.info(request, TOO_LATE, fail_silently=True)
    return stored


def safe_next(request: HttpRequest) -> str:
    """Where the form asks to go afterwards, if that is on this site; blank otherwise."""
    url = request.POST.get("next", "")
    # A path, or redirect() would take it for the name of a view.
    safe = url.startswith("/") and url.isprintable() and len(url) <= 2000
    return url if safe and url_has_allowed_host_and_scheme(url, allowed_hosts=None) else ""


def connection_url() -> str:
    """Where connecting and disconnecting lead, unless the form asks for another page."""
    return resolve_url(settings.SPOTIFY_CONNECTION_URL or django_settings.LOGIN_REDIRECT_URL)


def _give_cookie(response: HttpResponse, cookie: str) -> None:
    """Let the browser keep its logins under way, or forget them if there are none."""
    if not cookie:
        response.delete_cookie(login.cookie_name(), samesite="Lax")
        return
    response.set_cookie(
        login.cookie_name(),
        cookie,
        max_age=login.LIFETIME,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _to_login(request: HttpRequest) -> HttpResponse:
    """To the project's login, and then to the page: this address takes no GET."""
    return redirect_to_login(safe_next(request) or connection_url())
