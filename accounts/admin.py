"""Users in the admin, and tokens found by what users are called."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm, UsernameField
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from accounts import deletion, sessions, users
from accounts.models import User
from accounts.staff_rules import StaffRules, SuperusersGroupAdmin
from spotify_auth import tokens
from spotify_auth.admin import SpotifyTokenAdmin, TokenEventAdmin
from spotify_auth.admin_pages import people
from spotify_auth.admin_pages.acting import MOST_AT_ONCE
from spotify_auth.admin_pages.lists import CappedPaginator
from spotify_auth.models import LastSeen
from spotify_auth.verbs import Operator

admin.site.unregister(Group)
admin.site.register(Group, SuperusersGroupAdmin)

for token_admin in (SpotifyTokenAdmin, TokenEventAdmin):
    token_admin.names = (*token_admin.names, "display_name")


class _OptionalUsernameField(UsernameField):
    """Django's field cannot read the NULL that an empty username becomes."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value) if value else self.empty_value


class SpotifyUserChangeForm(UserChangeForm):  # type: ignore[type-arg]  # not generic at run time
    """Django's form, for users without a username too."""

    class Meta(UserChangeForm.Meta):
        field_classes = {"username": _OptionalUsernameField}


@admin.register(User)
class SpotifyUserAdmin(StaffRules):
    """Django's user admin, which also finds users by their Spotify account."""

    form = SpotifyUserChangeForm
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_display = ("__str__", "username", "spotify_account", "is_staff", "is_active")
    search_fields = ("username",)  # Django shows the field for it; `get_search_results` searches
    search_help_text = people.HELP
    readonly_fields = ("spotify_account", "display_name", "last_seen", "last_login", "date_joined")
    fieldsets = (
        ("Spotify", {"fields": ("spotify_account", "display_name", "last_seen")}),
        *(UserAdmin.fieldsets or ()),
    )
    list_select_related = ("spotify_auth_token",)
    actions = ("unlink_spotify",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """Users who are called like this, or who have this account."""
        term = search_term.strip()
        if term:
            found = people.find(term, names=(*people.fields_that_name_users(), "display_name"))
            # The user's own column is for rows that the previous version made: see users.py.
            queryset = queryset.filter(Q(pk__in=found) | Q(account_id=term))
        return queryset, False

    @admin.action(description="Unlink the Spotify account", permissions=["change"])
    def unlink_spotify(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Let the selected users log in by their password alone, and erase their tokens."""
        chosen = list(queryset[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            said = f"More than {MOST_AT_ONCE} users are selected, and nothing was done."
            self.message_user(request, said, messages.ERROR)
            return
        unlinked, kept, busy, denied = 0, 0, 0, 0
        for user in chosen:
            if not self.has_change_permission(request, user):
                denied += 1
                continue
            try:
                if users.unlink(user, requested_by=Operator.of(request.user).name):
                    self.log_change(request, user, "Unlinked the Spotify account.")
                    unlinked += 1
                else:
                    kept += 1
            except OperationalError:
                busy += 1
        self.message_user(request, f"{unlinked} users have no Spotify account here any more.")
        if kept:
            said = "have no username or no password, and could not log in without: unchanged."
            self.message_user(request, f"{kept} users {said}", messages.WARNING)
        if denied:
            said = f"{denied} administrators are unchanged: only a superuser changes them."
            self.message_user(request, said, messages.ERROR)
        if busy:
            said = "were being refreshed for longer than this page can wait: unlink them again."
            self.message_user(request, f"{busy} tokens {said}", messages.WARNING)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Deactivating ends the sessions, also for later; activating wakes the token."""
        super().save_model(request, obj, form, change)
        if "is_active" not in form.changed_data:
            return
        if obj.is_active:
            tokens.wake(obj.pk)
        else:
            sessions.end_all(obj)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """As the user does it: also while the token is being refreshed."""
        deletion.delete_account(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """One after the other."""
        for user in queryset:
            deletion.delete_account(user)

    @admin.display(description="Spotify account ID")
    def spotify_account(self, user: User) -> str | None:
        """The account that the user has connected or logs in by."""
        token = getattr(user, "spotify_auth_token", None)
        return (token.account_id if token else None) or user.account_id

    @admin.display(description="Last seen")
    def last_seen(self, user: User) -> datetime | None:
        """When a page last met the user, to within a day."""
        return LastSeen.objects.filter(pk=user.pk).values_list("seen_at", flat=True).first()
