"""What users can tell us."""

from typing import TYPE_CHECKING

from django import forms

from accounts.models import User

if TYPE_CHECKING:
    _UserForm = forms.ModelForm[User]
else:
    _UserForm = forms.ModelForm  # Django's own is not generic at run time


class ReminderForm(_UserForm):
    """Where to remind a user before the six months are over; blank is nowhere."""

    class Meta:
        model = User
        fields = ("email",)
