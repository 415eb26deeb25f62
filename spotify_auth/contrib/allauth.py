"""django-allauth: "spotify_auth.contrib.allauth.Bridge" in INSTALLED_APPS.

allauth logs users in, connects and removes; their tokens are kept here, and nowhere else.
"""

from typing import Any

from allauth.account.signals import user_logged_in
from allauth.socialaccount import signals
from django.apps import AppConfig
from django.db import transaction
from django.http import HttpRequest

_FORGOTTEN = ""


class Bridge(AppConfig):
    """Listens to allauth's signals."""

    name = "spotify_auth.contrib.allauth"
    label = "spotify_auth_allauth"
    verbose_name = "Spotify tokens of django-allauth"

    def ready(self) -> None:
        """Connect the receivers, once there are models."""
        user_logged_in.connect(_logged_in)
        signals.social_account_added.connect(_connected)
        signals.social_account_updated.connect(_connected_again)
        signals.social_account_removed.connect(_removed)


def _logged_in(request: HttpRequest, user: Any, sociallogin: Any = None, **_: Any) -> None:
    """A login or a sign-up; `sociallogin` is not there if it was by a password."""
    if sociallogin:
        _keep(request, user, sociallogin)


def _connected(request: HttpRequest, sociallogin: Any, **_: Any) -> None:
    _keep(request, sociallogin.user, sociallogin)


def _connected_again(request: HttpRequest, sociallogin: Any, **_: Any) -> None:
    # Before each login too, which has a signal of its own.
    if sociallogin.state.get("process") != "connect" or not _is_spotify(sociallogin.account):
        return
    if sociallogin.user == request.user:
        _keep(request, sociallogin.user, sociallogin)
    elif sociallogin.token:
        # allauth refuses to connect another user's account, but only after it has stored this.
        sociallogin.token.token_secret = _FORGOTTEN


def _keep(request: HttpRequest, user: Any, sociallogin: Any) -> None:
    # Here and in `_removed`: INSTALLED_APPS brings this module in before there are models.
    from spotify_auth.contrib.logins import take_over
    from spotify_auth.profile import account_id_in

    account, token = sociallogin.account, sociallogin.token
    if not _is_spotify(account) or not token or not token.token_secret:
        return
    provider = account.get_provider()
    with transaction.atomic():
        settled = take_over(
            request,
            user,
            client_id=provider.app.client_id,
            access_token=token.token,
            refresh_token=token.token_secret,
            expires_at=token.expires_at,
            # What was asked for: allauth drops what was granted, which a refresh tells.
            scope=provider.get_scope(),
            # It never changes, unlike allauth's `uid`, which is Spotify's `id`.
            account_id=account_id_in(account.extra_data),
        )
        if settled:
            token.token_secret = _FORGOTTEN  # allauth may be about to store it
            stored = type(token)._default_manager.filter(account=account)
            stored.update(token_secret=_FORGOTTEN)


def _removed(socialaccount: Any, **_: Any) -> None:
    from spotify_auth.contrib.logins import let_go

    if _is_spotify(socialaccount):
        let_go(socialaccount.user_id, [socialaccount.extra_data])


def _is_spotify(account: Any) -> bool:
    return bool(account.get_provider().id == "spotify")
