"""The form at the admin's door."""

import logging
from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.http import HttpRequest

from accounts import second_factor
from accounts.models import User
from accounts.password_tries import LockedOut, Try
from accounts.second_factor import Mode
from spotify_auth.client_address import client_address
from spotify_auth.secrecy import forgets_variables

logger = logging.getLogger(__name__)


class AdminLoginForm(AdminAuthenticationForm):
    """Name, password, and a code if one is needed; each try is counted before it is checked."""

    request: HttpRequest
    code = forms.CharField(
        required=False,
        max_length=20,
        label="Code",
        help_text="From your authenticator app, or a backup code.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "text"}),
    )
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "second_factor": "The code is missing or wrong, or you have used it already. Wait for "
        "the next one.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password_try: Try
        self.device_id = ""
        if second_factor.mode() is Mode.OFF:
            del self.fields["code"]
        elif second_factor.mode() is Mode.OPTIONAL:
            self.fields["code"].help_text += " Leave it empty if you have set up neither."

    @property
    def user(self) -> User:
        """The user who logs in, once the form is valid."""
        user = self.get_user()
        assert isinstance(user, User)  # noqa: S101  (for type checkers: the form is valid)
        return user

    @forgets_variables
    def clean(self) -> dict[str, Any]:
        """Check all three. Raises ValidationError, or LockedOut before anything was checked."""
        name = self.cleaned_data.get("username")
        if not name or not self.cleaned_data.get("password"):
            return super().clean()  # hashes nothing
        self.password_try = Try(self.request, name)
        try:
            self.password_try.begin()
        except LockedOut as refused:
            logger.warning(
                "admin_login_locked_out address=%s seconds=%s",
                client_address(self.request),
                refused.seconds,
            )
            raise
        try:
            cleaned = super().clean()
            self._check_second_factor()
        except forms.ValidationError as error:
            self._log_failure(name, error)
            raise
        self.password_try.succeeded()
        self.request.admin_login_form = self  # type: ignore[attr-defined]
        return cleaned

    def _check_second_factor(self) -> None:
        if not second_factor.is_needed_by(self.user):
            return
        self.device_id = second_factor.verify(self.user, self.cleaned_data.get("code", ""))
        if not self.device_id:
            raise forms.ValidationError(self.error_messages["second_factor"], code="second_factor")

    def _log_failure(self, name: str, error: forms.ValidationError) -> None:
        """One line, without the name: people type passwords into that field."""
        user_id = User.objects.filter(username=name).values_list("pk", flat=True).first()
        reason = "second_factor" if error.code == "second_factor" else "password"
        logger.warning(
            "admin_login_failed user_id=%s reason=%s address=%s",
            user_id,
            reason,
            client_address(self.request),
        )


class OwnPasswordForm(AdminPasswordChangeForm):
    """A new password for oneself; guesses at the old one count together with those at the login."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request = request

    @forgets_variables
    def clean_old_password(self) -> str:
        """Check it. Raises ValidationError, or LockedOut before anything was checked."""
        tried = Try(self._request, self.user.get_username() or "")
        tried.begin()
        password: str = super().clean_old_password()
        tried.succeeded()
        return password
