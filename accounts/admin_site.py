"""The admin's own session: a password, and a second factor, within ADMIN_SESSION_HOURS.

The browser's session is the same as everywhere, and lives for months. What makes it good for
the admin is a mark in it that only the admin's login form writes: logging in with Spotify never
does. When the mark is too old the form asks again, and the rest of the session goes on.
"""

import time
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from accounts import second_factor
from accounts.admin_login import AdminLoginForm, OwnPasswordForm
from accounts.models import User
from accounts.second_factor import Mode

MARK = "admin_login"
"""The session's entry: who typed a password, when, and with which device."""


class KeeperAdminSite(admin.AdminSite):
    """Django's, for staff who have typed their password lately."""

    site_header = site_title = "Spotify Token Keeper"
    login_form = AdminLoginForm
    login_template = "admin/keeper_login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether this request may see the admin at all."""
        user = request.user
        return (
            isinstance(user, User)
            and user.is_active
            and user.is_staff
            and _is_fresh(request.session, user)
        )

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form, and what it lets in. Raises password_tries.LockedOut."""
        asked_again = isinstance(request.user, User) and request.user.is_staff
        context = {
            "asked_again": asked_again,
            "hours": settings.ADMIN_SESSION_HOURS,
            **(extra_context or {}),
        }
        response = super().login(request, context)
        # A form that is not valid is shown again.
        if request.method == "POST" and isinstance(response, HttpResponseRedirect):
            form: AdminLoginForm = request.admin_login_form  # type: ignore[attr-defined]
            mark_session(request.session, form.user, device_id=form.device_id)
            form.password_try.remember_device(response)
        return response

    @method_decorator(sensitive_post_parameters())
    def password_change(  # type: ignore[override]  # Django's own is no TemplateResponse either
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """A new password for oneself. Raises password_tries.LockedOut."""
        view = _OwnPasswordView.as_view(
            form_class=OwnPasswordForm,
            template_name=self.password_change_template or "registration/password_change_form.html",
            success_url=reverse("admin:password_change_done", current_app=self.name),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)


class _OwnPasswordView(PasswordChangeView):
    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}


def mark_session(session: SessionBase, user: User, *, device_id: str) -> None:
    """Let a session be good for the admin from now on."""
    session[MARK] = {"user": str(user.pk), "at": time.time(), "device": device_id}


def _is_fresh(session: SessionBase, user: User) -> bool:
    mark = session.get(MARK)
    if not mark or mark["user"] != str(user.pk):
        return False
    age = time.time() - mark["at"]
    if not 0 <= age < settings.ADMIN_SESSION_HOURS * 3600:
        return False
    required = second_factor.mode() is Mode.REQUIRED
    return not required or second_factor.still_exists(user, mark["device"])
