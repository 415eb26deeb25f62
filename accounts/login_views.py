"""Logging in with Spotify: the way there, the reminder's link, and the way back."""

from django.conf import settings
from django.contrib import auth
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import users
from accounts.login_problems import WORDS, Reason
from accounts.models import User
from spotify_auth import login_failures
from spotify_auth import views as spotify_views
from spotify_auth.login import Completed, Door
from spotify_auth.login_failures import LoginFailed


@require_POST
@never_cache
def login(request: HttpRequest) -> HttpResponse:
    """Send the browser to Spotify; with `switch`, to choose another account there.

    A user who is logged in without a Spotify account, an administrator for example, connects
    one instead of becoming another user.
    """
    next_url = spotify_views.safe_next(request)
    switch = bool(request.POST.get("switch"))
    if _has_no_account(request) and not switch:
        return spotify_views.to_spotify(
            door=Door.CONNECT, next_url=next_url, user_id=request.user.pk
        )
    return spotify_views.to_spotify(door=Door.LOGIN, next_url=next_url, switch=switch)


@require_GET
@never_cache
def reconnect(request: HttpRequest) -> HttpResponse:
    """The link in a reminder: straight to Spotify, and then to the connection page.

    A GET, since a mail can hold no form. A forged link can only log visitors in as
    themselves. It never links a Spotify account to a user without one, so it cannot give an
    attacker an administrator's login.
    """
    connection_page = reverse("accounts:connection")
    if _has_no_account(request):
        return redirect(connection_page)
    return spotify_views.to_spotify(door=Door.LOGIN, next_url=connection_page)


@require_GET
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Take the browser back from Spotify, through the door that it left by."""
    return spotify_views.come_back(
        request, doors={Door.LOGIN: _log_in, Door.CONNECT: _connect}, words=WORDS
    )


def _log_in(request: HttpRequest, completed: Completed) -> HttpResponse:
    """Log in as the user of the Spotify account, who is made if there is none."""
    here = request.user if isinstance(request.user, User) else None
    if here and not completed.switch:
        _refuse_silent_linking(here, completed)
    with transaction.atomic():
        user = users.user_for_account(
            account_id=completed.account_id, display_name=completed.display_name
        )
        if not user.is_active:
            raise LoginFailed(Reason.INACTIVE)
        # Store the grant even if another user is logged in here: it belongs to the Spotify
        # account that approved it.
        spotify_views.store(request, completed, user_id=user.pk)
    if here and here != user and not completed.switch:
        linked = users.account_of(here)
        raise LoginFailed(
            Reason.ANOTHER_ACCOUNT if linked else login_failures.Reason.LINKED_TO_ANOTHER
        )
    request.session.cycle_key()
    auth.login(request, user)
    return redirect(completed.next_url or settings.LOGIN_REDIRECT_URL)


def _connect(request: HttpRequest, completed: Completed) -> HttpResponse:
    """Store the grant for the user who is logged in, and note the account for both versions."""
    user = request.user
    if not isinstance(user, User):
        raise LoginFailed(login_failures.Reason.ANOTHER_USER)
    owner = users.user_of_account(completed.account_id)
    if owner and owner != user:
        raise LoginFailed(login_failures.Reason.LINKED_TO_ANOTHER)
    with transaction.atomic():
        # The token first: a lane that holds its lock needs the user's row for the event.
        stored = spotify_views.store(request, completed, user_id=user.pk)
        if stored and not users.note_account(user, completed.account_id):
            raise LoginFailed(login_failures.Reason.LINKED_TO_ANOTHER)
    return redirect(completed.next_url or spotify_views.connection_url())


def _has_no_account(request: HttpRequest) -> bool:
    """Whether a user is logged in who has no Spotify account."""
    return isinstance(request.user, User) and not users.account_of(request.user)


def _refuse_silent_linking(here: User, completed: Completed) -> None:
    """Make no new user for an account, while one is logged in who has none yet."""
    if not users.account_of(here) and users.user_of_account(completed.account_id) is None:
        raise LoginFailed(Reason.CONNECT_INSTEAD)
