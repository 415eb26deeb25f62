"""Users in the admin, and tokens found by what users are called."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm, UsernameField
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import sessions
from accounts.models import User
from spotify_auth.admin import CappedPaginator, SpotifyTokenAdmin, TokenEventAdmin
from spotify_auth.models import LastSeen, SpotifyToken, UserId

for token_admin in (SpotifyTokenAdmin, TokenEventAdmin):
    token_admin.search_fields = (*token_admin.search_fields, "user__display_name")

admin.site.unregister(SpotifyToken)


@admin.register(SpotifyToken)
class AccountTokenAdmin(SpotifyTokenAdmin):
    """Tokens, whose revocation also logs the user out everywhere."""

    def after_revoking(self, user_id: UserId) -> None:
        """End the user's sessions: who is not to have Spotify by us is not to stay here."""
        user = User.objects.filter(pk=user_id).first()
        if user:
            sessions.end_all(user)


class _OptionalUsernameField(UsernameField):
    """Django's field cannot read the NULL that an empty username becomes."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value) if value else self.empty_value


class SpotifyUserChangeForm(UserChangeForm):  # type: ignore[type-arg]  # not generic at run time
    """Django's form, for users without a username too."""

    class Meta(UserChangeForm.Meta):
        field_classes = {"username": _OptionalUsernameField}


@admin.register(User)
class SpotifyUserAdmin(UserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Django's user admin, which also finds users by their Spotify account."""

    form = SpotifyUserChangeForm
    paginator = CappedPaginator
    show_full_result_count = False
    list_display = ("__str__", "username", "spotify_account", "is_staff", "is_active")
    # The user's own column is for rows that the previous version made: see users.py.
    search_fields = (
        *("username", "display_name", "email"),
        *("spotify_token__account_id", "account_id"),
    )
    readonly_fields = ("spotify_account", "display_name", "last_seen", "last_login", "date_joined")
    fieldsets = (
        ("Spotify", {"fields": ("spotify_account", "display_name", "last_seen")}),
        *(UserAdmin.fieldsets or ()),
    )
    list_select_related = ("spotify_token",)

    @admin.display(description="Spotify account ID")
    def spotify_account(self, user: User) -> str | None:
        """The account that the user has connected or logs in by."""
        token = getattr(user, "spotify_token", None)
        return (token.account_id if token else None) or user.account_id

    @admin.display(description="Last seen")
    def last_seen(self, user: User) -> datetime | None:
        """When a page last met the user, to within a day."""
        return LastSeen.objects.filter(pk=user.pk).values_list("seen_at", flat=True).first()

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Delete a user, and the rows of their sessions, which Django would leave."""
        sessions.end_all(obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """As `delete_model`, for several users."""
        for user in queryset:
            sessions.end_all(user)
        super().delete_queryset(request, queryset)
