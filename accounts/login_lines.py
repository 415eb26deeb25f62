"""Log lines of logins and logouts, from Django's signals: who, and from where."""

import logging
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.http import HttpRequest

from spotify_auth.client_address import client_address

logger = logging.getLogger(__name__)


def listen() -> None:
    """Write the lines from now on."""
    user_logged_in.connect(_logged_in, dispatch_uid="accounts.login_lines")
    user_logged_out.connect(_logged_out, dispatch_uid="accounts.login_lines")


def _logged_in(request: HttpRequest, user: AbstractBaseUser, **kwargs: Any) -> None:
    if _is_admin_login(request):
        logger.info("admin_login user_id=%s address=%s", user.pk, client_address(request))
    else:
        logger.info("login user_id=%s address=%s", user.pk, client_address(request))


def _logged_out(request: HttpRequest, user: AbstractBaseUser | None, **kwargs: Any) -> None:
    if user is not None:  # a visitor who was not logged in may send the form too
        logger.info("logout user_id=%s address=%s", user.pk, client_address(request))


def _is_admin_login(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.view_name == f"{admin.site.name}:login"
