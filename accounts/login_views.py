"""Logging in with Spotify: the way there, the reminder's link, linking, and the way back."""

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from accounts import users
from accounts.connection_page import connection_of
from accounts.forms import LinkForm
from accounts.login_problems import WORDS, Reason
from accounts.models import User
from accounts.requests import SignedInRequest
from spotify_auth import login_failures
from spotify_auth import views as spotify_views
from spotify_auth.login import Completed, Door
from spotify_auth.login_failures import LoginFailed
from spotify_auth.throttles import callbacks, logins, throttled


@require_POST
@never_cache
@throttled(logins)
def login(request: HttpRequest) -> HttpResponse:
    """Send the browser to Spotify; with `switch`, to go on as the user of another account.

    A user who is logged in without a Spotify account connects one instead of becoming another
    user.
    """
    switch = bool(request.POST.get("switch"))
    here = _here(request)
    if here and not switch and not users.account_of(here):
        return connect(request)
    return spotify_views.to_spotify(
        request,
        door=Door.SWITCH if switch else Door.LOGIN,
        next_url=spotify_views.safe_next(request),
        renew=bool(request.POST.get("renew")),
    )


@require_POST
@never_cache
def connect(request: HttpRequest) -> HttpResponse:
    """Send the browser to Spotify to connect an account; an administrator types the password."""
    here = _here(request)
    if here and _must_link(here):
        page, next_url = reverse("accounts:link"), spotify_views.safe_next(request)
        return redirect(f"{page}?{urlencode({'next': next_url})}" if next_url else page)
    return spotify_views.connect(request)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
@throttled(logins)
def link(request: SignedInRequest) -> HttpResponse:
    """Say what linking a Spotify account means to an administrator, and ask for the password.

    With the right one the browser leaves for Spotify at once: an attempt to link lives no longer
    than the password counts.
    """
    user = request.user
    if not _must_link(user):
        return redirect("accounts:connection")
    form = LinkForm(request.POST if request.method == "POST" else None, request=request)
    if form.is_valid():
        next_url = spotify_views.safe_next(request)
        return spotify_views.to_spotify(request, door=Door.LINK, next_url=next_url)
    next_url = request.POST.get("next") or request.GET.get("next", "")
    context = {"form": form, "next": next_url, "has_password": user.has_usable_password()}
    return render(request, "accounts/link.html", context, status=400 if form.is_bound else 200)


@require_safe
@never_cache
def reconnect(request: HttpRequest) -> HttpResponse:
    """The link in a reminder: a page with a button, since a mail can hold no form.

    Any page of the web can send a browser here, so it changes nothing: it neither undoes a
    disconnect nor brings a deleted account back.
    """
    here = _here(request)
    context = {
        "connection": connection_of(here.pk) if here else None,
        "account_is_missing": bool(here and not users.account_of(here)),
        "connection_page": reverse("accounts:connection"),
    }
    return render(request, "accounts/reconnect.html", context)


@require_GET
@never_cache
@throttled(callbacks)
def callback(request: HttpRequest) -> HttpResponse:
    """Take the browser back from Spotify, through the door that it left by."""
    doors: spotify_views.Doors = {
        Door.LOGIN: _log_in,
        Door.SWITCH: _switch,
        Door.CONNECT: _connect,
        Door.LINK: _link,
    }
    return spotify_views.come_back(request, doors=doors, words=WORDS)


def _log_in(request: HttpRequest, completed: Completed) -> HttpResponse:
    """Log in as the user of the Spotify account, unless another user is logged in here already.

    The grant is stored in that case too: it belongs to the Spotify account that approved it.
    """
    here = _here(request)
    if here:
        _refuse_silent_linking(here, completed)
    user = _store_for_owner(request, completed)
    if here and here != user:
        linked = users.account_of(here)
        raise LoginFailed(
            Reason.ANOTHER_ACCOUNT if linked else login_failures.Reason.LINKED_TO_ANOTHER
        )
    return _enter(request, user, completed)


def _switch(request: HttpRequest, completed: Completed) -> HttpResponse:
    """Go on as the user of the Spotify account, whoever was logged in before."""
    return _enter(request, _store_for_owner(request, completed), completed)


def _store_for_owner(request: HttpRequest, completed: Completed) -> User:
    """Store the grant for the user of the account, who is made if there is none."""
    with transaction.atomic():
        user = users.user_for_account(
            account_id=completed.account_id, display_name=completed.display_name
        )
        if not user.is_active:
            raise LoginFailed(Reason.INACTIVE)
        spotify_views.store(request, completed, user_id=user.pk)
    return user


def _enter(request: HttpRequest, user: User, completed: Completed) -> HttpResponse:
    request.session.cycle_key()
    auth.login(request, user)
    return redirect(completed.next_url or settings.LOGIN_REDIRECT_URL)


def _connect(request: HttpRequest, completed: Completed) -> HttpResponse:
    """Store the grant for the user who is logged in. It makes no link for an administrator."""
    here = _here(request)
    if here and users.is_administrator(here) and users.account_of(here) != completed.account_id:
        raise LoginFailed(Reason.LINK_WITH_PASSWORD)
    return _store_here(request, completed)


def _link(request: HttpRequest, completed: Completed) -> HttpResponse:
    """The same with a new link: the user was told what it means, and has typed the password."""
    return _store_here(request, completed)


def _store_here(request: HttpRequest, completed: Completed) -> HttpResponse:
    """Store the grant for the user who is logged in, and note the account for both versions."""
    user = _here(request)
    if user is None:
        raise LoginFailed(login_failures.Reason.LOGGED_OUT_MEANWHILE)
    owner = users.user_of_account(completed.account_id)
    if owner and owner != user:
        raise LoginFailed(login_failures.Reason.LINKED_TO_ANOTHER)
    with transaction.atomic():
        # The token first: a lane that holds its lock needs the user's row for the event.
        stored = spotify_views.store(request, completed, user_id=user.pk)
        if stored and not users.note_account(user, completed.account_id):
            raise LoginFailed(login_failures.Reason.LINKED_TO_ANOTHER)
    return redirect(completed.next_url or spotify_views.connection_url())


def _here(request: HttpRequest) -> User | None:
    """The user who is logged in."""
    return request.user if isinstance(request.user, User) else None


def _must_link(user: User) -> bool:
    """Whether this user can get a Spotify account by the linking page only."""
    return users.is_administrator(user) and not users.account_of(user)


def _refuse_silent_linking(here: User, completed: Completed) -> None:
    """Make no new user for an account, while one is logged in who has none yet."""
    if not users.account_of(here) and users.user_of_account(completed.account_id) is None:
        raise LoginFailed(Reason.CONNECT_INSTEAD)
