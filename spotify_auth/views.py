"""Logging in with Spotify, and disconnecting: interfaces only."""

import logging
from typing import Any
from urllib.parse import urlsplit

from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from accounts.models import User
from accounts.people import person_for
from accounts.requests import SignedInRequest
from accounts.text import storable
from spotify_auth import connections, login_attempts, web_api
from spotify_auth.accounts_service import authorization
from spotify_auth.accounts_service.errors import (
    AccountsServiceError,
    ClientRefused,
    GrantRefused,
)
from spotify_auth.conf import settings
from spotify_auth.login_problems import LoginProblem

logger = logging.getLogger(__name__)


@require_POST
@never_cache
def login(request: HttpRequest) -> HttpResponse:
    """Send the browser to Spotify; with `switch`, to choose another account there."""
    return _to_spotify(next_url=_safe_next(request), switch=bool(request.POST.get("switch")))


@require_GET
@never_cache
def reconnect(request: HttpRequest) -> HttpResponse:
    """The link in a reminder: straight to Spotify, and then to the connection page.

    A GET, since a mail can hold no form. Whoever is made to follow it is logged in as who
    they are at Spotify. But it links no account to a user who has none yet: what another
    site can cause must not decide who may log in as an administrator.
    """
    if isinstance(request.user, User) and not request.user.account_id:
        return redirect("accounts:connection")
    return _to_spotify(next_url=reverse("accounts:connection"), switch=False)


def _to_spotify(*, next_url: str, switch: bool) -> HttpResponse:
    """A redirect with a state and a PKCE challenge of its own, bound to this browser."""
    site = urlsplit(settings.SPOTIFY_REDIRECT_URI)
    begun = login_attempts.begin(next_url=next_url, switch=switch)
    response = redirect(
        authorization.authorize_url(
            state=begun.state, code_verifier=begun.code_verifier, show_dialog=switch
        )
    )
    response.set_cookie(
        begun.cookie_name,
        begun.cookie,
        max_age=login_attempts.LIFETIME,
        path=site.path,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )
    return response


@require_GET
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Take the browser back from Spotify: check the state, trade the code, log in.

    It always ends in a redirect or in a page that says what went wrong and how to go
    on, so that reloading never repeats the exchange.
    """
    try:
        response = _complete_login(request)
    except LoginProblem as problem:
        logger.warning("login_failed reason=%s", problem.reason)
        response = render(
            request, "spotify_auth/login_failed.html", {"problem": problem}, status=problem.status
        )
    # This page's address carries the code: no other may be told more than the host.
    # ("no-referrer" would also blank the Origin header, by which Django knows its forms.)
    response["Referrer-Policy"] = "strict-origin"
    response.delete_cookie(
        login_attempts.cookie_name(request.GET.get("state", "")),
        path=urlsplit(settings.SPOTIFY_REDIRECT_URI).path,
    )
    return response


@require_POST
@login_required
def disconnect(request: SignedInRequest) -> HttpResponse:
    """Erase our copy of the person's tokens."""
    connections.disconnect(user_id=request.user.pk)
    return redirect("accounts:connection")


@sensitive_variables()
def _complete_login(request: HttpRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    cookie = request.COOKIES.get(login_attempts.cookie_name(state), "")
    try:
        attempt = login_attempts.take(state=state, cookie=cookie)
    except login_attempts.UnknownLoginAttempt:
        raise LoginProblem("unknown_state") from None
    if "error" in request.GET:
        refused = request.GET["error"] == "access_denied"
        raise LoginProblem("access_denied" if refused else "spotify_error")
    if not request.GET.get("code"):
        raise LoginProblem("spotify_error")
    issued_at = connections.database_now()
    try:
        grant = authorization.exchange_code(
            code=request.GET["code"], code_verifier=attempt.code_verifier
        )
    except GrantRefused:
        raise LoginProblem("code_refused") from None
    except ClientRefused as error:
        logger.error("client_refused error=%s", error.code)
        raise LoginProblem("misconfigured") from None
    except AccountsServiceError:
        raise LoginProblem("no_answer") from None
    account_id, display_name = _who(grant.access_token)
    here = request.user if isinstance(request.user, User) else None
    user = person_for(account_id=account_id, display_name=display_name, here=here)
    if not user.is_active:
        raise LoginProblem("inactive")
    # Stored in any case: who came back is who they are at Spotify, whoever is logged in here.
    try:
        connections.connect(user_id=user.pk, grant=grant, issued_at=issued_at)
    except OperationalError:
        raise LoginProblem("busy") from None
    if here and here != user and not attempt.switch:
        raise LoginProblem("another_account" if here.account_id else "linked_to_another")
    request.session.cycle_key()
    auth.login(request, user)
    return redirect(attempt.next_url or settings.LOGIN_REDIRECT_URL)


def _who(access_token: str) -> tuple[str, str]:
    """The account ID and display name behind a token."""
    try:
        profile: dict[str, Any] = web_api.get(access_token, "/me") or {}
    except web_api.NotAllowed:
        raise LoginProblem("not_allowed") from None
    except web_api.WebApiError:
        raise LoginProblem("no_answer") from None
    account_id, name = profile.get("account_id"), profile.get("display_name")
    if (
        not isinstance(account_id, str)
        or not 0 < len(account_id) <= 255
        or account_id != storable(account_id)
    ):
        raise LoginProblem("no_account_id")
    return account_id, storable(name)[:255] if isinstance(name, str) else ""


def _safe_next(request: HttpRequest) -> str:
    """Where the form asks to go after the log-in, if that is on this site."""
    url = request.POST.get("next", "")
    # A path, or redirect() would take it for the name of a view.
    safe = url.startswith("/") and url.isprintable() and len(url) <= 2000
    return url if safe and url_has_allowed_host_and_scheme(url, allowed_hosts=None) else ""
