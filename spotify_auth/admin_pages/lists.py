"""Lists that are for looking, and that stay quick over millions of rows."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

MOST_COUNTED = 10_000
"""Rows of a list that have pages."""

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # Django's own is not generic at run time


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # Django's own is not generic
    """Pages for the first MOST_COUNTED rows; others are found by a filter or a search."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, as far as that matters: counting millions takes seconds."""
        # Without an order: a count that has to sort first reads all rows after all.
        rows = cast("QuerySet[Any]", self.object_list).order_by()
        return rows[:MOST_COUNTED].count()


class ReadOnlyAdmin(_ModelAdmin):
    """No adding, no changing; deleting only along with the user."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count of each filter would read every row

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Django asks this also when a user is deleted, whose token and events go too.
        here = request.resolver_match.view_name if request.resolver_match else ""
        user = get_user_model()._meta
        site = self.admin_site.name
        deleting_a_user = here.startswith(f"{site}:{user.app_label}_{user.model_name}_")
        return deleting_a_user and super().has_delete_permission(request, obj)
