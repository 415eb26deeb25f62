"""The person in the admin."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from accounts.models import User


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Django's user admin, which also finds people by their Spotify account."""

    list_display = ("__str__", "username", "account_id", "is_staff", "is_active")
    search_fields = ("username", "display_name", "account_id", "email")
    readonly_fields = ("account_id", "display_name", "last_login", "date_joined")
    fieldsets = (
        ("Spotify", {"fields": ("account_id", "display_name")}),
        *(UserAdmin.fieldsets or ()),
    )
