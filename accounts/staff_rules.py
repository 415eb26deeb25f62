"""Who may change whom in the admin: nobody makes an administrator but a superuser."""

from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models.deletion import ProtectedError
from django.http import HttpRequest
from django.shortcuts import redirect

from accounts import users
from accounts.models import User

if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin  # Django's own is not generic at run time

_POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


class StaffRules(_UserAdmin):
    """Django's page of users, where only a superuser changes what users may do.

    Only a superuser changes an administrator in any way: a user who sets another's password can
    log in as that user. An administrator who has acted is deactivated instead of deleted, since
    the record of the actions would go with the user.
    """

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Powers are for looking only, but for superusers."""
        fields = super().get_readonly_fields(request, obj)
        return fields if _is_superuser(request) else (*fields, *_POWERS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Asked by the password's page too."""
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        """One's own password is changed with the old one only, by superusers too.

        Or a stolen session would outlive its twelve hours.
        """
        if str(request.user.pk) == id:
            return redirect(f"{self.admin_site.name}:password_change")
        return super().user_change_password(request, id, form_url)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Asked for each user of a bulk deletion too."""
        allowed = super().has_delete_permission(request, obj) and _may_touch(request, obj)
        return allowed and not (obj and has_acted(obj))

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> LogEntry:
        """The record outlives the user, so it has no name of a listener."""
        return super().log_addition(request, _numbered(obj), message)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> LogEntry:
        """As for an addition."""
        return super().log_change(request, _numbered(obj), message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[User]) -> list[LogEntry]:
        """As for an addition."""
        numbered: Any = [_numbered(user) for user in queryset]
        return super().log_deletions(request, numbered)


class SuperusersGroupAdmin(GroupAdmin):
    """Groups are powers: others see them on the pages of users, and change none."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return _is_superuser(request) and super().has_delete_permission(request, obj)


def has_acted(user: User) -> bool:
    """Whether a user has a record of actions in the admin."""
    return LogEntry.objects.filter(user_id=user.pk).exists()


def may_delete_account(user: User) -> bool:
    """Whether users may delete themselves: not if what they did as administrators would go too."""
    return not user.is_staff and not has_acted(user)


def keep_records(instance: User, **kwargs: Any) -> None:
    """A receiver of `pre_delete`. Raises ProtectedError for a user who has acted in the admin."""
    if has_acted(instance):
        said = "This user has acted in the admin: deactivate instead, so that the record stays."
        raise ProtectedError(said, set(LogEntry.objects.filter(user_id=instance.pk)[:1]))


def _numbered(user: User) -> User:
    """The same user under a number, unless it is an administrator."""
    if users.is_administrator(user):
        return user
    numbered = copy(user)
    numbered.display_name, numbered.username = "", f"user {user.pk}"
    return numbered


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and bool(getattr(request.user, "is_superuser", False))


def _may_touch(request: HttpRequest, user: User | None) -> bool:
    return user is None or _is_superuser(request) or not users.is_administrator(user)
