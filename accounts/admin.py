"""The person in the admin."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm, UsernameField

from accounts.models import User


class _OptionalUsernameField(UsernameField):
    """Django's field cannot read the NULL that an empty username becomes."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value) if value else self.empty_value


class PersonChangeForm(UserChangeForm):  # type: ignore[type-arg]  # not generic at run time
    """Django's form, for people without a username too."""

    class Meta(UserChangeForm.Meta):
        field_classes = {"username": _OptionalUsernameField}


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Django's user admin, which also finds people by their Spotify account."""

    form = PersonChangeForm
    list_display = ("__str__", "username", "account_id", "is_staff", "is_active")
    search_fields = ("username", "display_name", "account_id", "email")
    readonly_fields = ("account_id", "display_name", "seen_at", "last_login", "date_joined")
    fieldsets = (
        ("Spotify", {"fields": ("account_id", "display_name", "seen_at")}),
        *(UserAdmin.fieldsets or ()),
    )
