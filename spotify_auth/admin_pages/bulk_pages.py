"""The pages of what is done in the background: how far it has come, and a button that ends it."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from spotify_auth import bulk
from spotify_auth.admin_pages.actions import ACTIONS
from spotify_auth.connections import database_now
from spotify_auth.models import BulkAction

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[BulkAction]
else:
    _ModelAdmin = object


class BulkPages(_ModelAdmin):
    """What a `ModelAdmin` of bulk actions shows: everything is for looking, but for *Cancel*."""

    list_display = ("what", "by", "reason", "state", "progress", "created_at")
    list_filter = ("state",)
    ordering = ("-pk",)
    sortable_by = ()
    fields = ("what", "query", "by", "reason", "created_at")
    change_form_template = "admin/spotify_auth/bulkaction/change_form.html"

    class Media:
        css = {"all": ["spotify_auth/admin.css"]}

    def has_view_permission(self, request: HttpRequest, obj: BulkAction | None = None) -> bool:
        """Whoever may look at tokens may look at what is done to them."""
        return request.user.has_perm("spotify_auth.view_spotifytoken")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """Django's, and the button's."""
        cancel = path(
            "<int:pk>/cancel/",
            self.admin_site.admin_view(self.cancel),
            name="spotify_auth_bulkaction_cancel",
        )
        return [cancel, *super().get_urls()]

    @method_decorator(require_POST)
    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let it end. Raises PermissionDenied for whom the action is not allowed."""
        found = get_object_or_404(BulkAction, pk=pk)
        if not self._may_cancel(request, found):
            raise PermissionDenied
        if not bulk.cancel(pk, administrator=request.user):
            self.message_user(request, "It was over already.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:spotify_auth_bulkaction_change", args=[pk]))

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """How far it has come."""
        found: BulkAction = context["original"]
        running = found.state == BulkAction.State.RUNNING
        context |= {
            "title": self.what(found),
            "subtitle": None,
            "running": running,
            "may_cancel": running and self._may_cancel(request, found),
            "now": database_now(),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="What")
    def what(self, found: BulkAction) -> str:
        """The action, as its button has it."""
        action = ACTIONS.get(found.action)
        return action.label if action else found.action

    @admin.display(description="Tokens")
    def progress(self, found: BulkAction) -> str:
        """How many were looked at, of how many."""
        return f"{found.looked_at} of {'?' if found.matched is None else found.matched}"

    def _may_cancel(self, request: HttpRequest, found: BulkAction) -> bool:
        action = ACTIONS.get(found.action)
        return bool(action and action.is_allowed(request.user))
