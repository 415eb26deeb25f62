"""What users can tell us."""

from typing import TYPE_CHECKING

from django import forms
from django.contrib.auth import authenticate, update_session_auth_hash

from accounts.models import User
from accounts.password_tries import Try
from accounts.requests import SignedInRequest
from spotify_auth.secrecy import forgets_variables

if TYPE_CHECKING:
    _UserForm = forms.ModelForm[User]
else:
    _UserForm = forms.ModelForm  # Django's own is not generic at run time


class ReminderForm(_UserForm):
    """Where to remind a user before the six months are over; blank is nowhere."""

    class Meta:
        model = User
        fields = ("email",)


class LinkForm(forms.Form):
    """The password of the user who is logged in, once more."""

    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, data: object = None, *, request: SignedInRequest) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # a QueryDict, or nothing yet
        self._request = request

    @forgets_variables
    def clean_password(self) -> str:
        """Check it; guesses count together with those at the admin's login.

        Raises ValidationError, or LockedOut before anything was checked.
        """
        password: str = self.cleaned_data["password"]
        user = self._request.user
        tried = Try(self._request, user.username or "")
        tried.begin()
        known = authenticate(self._request, username=user.username, password=password)
        if not isinstance(known, User) or known != user:
            raise forms.ValidationError("That is not your password. Nothing was linked.")
        if known.password != user.password:
            # Django has hashed it anew, as after an upgrade, and every session depends on the hash.
            update_session_auth_hash(self._request, known)
        tried.succeeded()
        return password
