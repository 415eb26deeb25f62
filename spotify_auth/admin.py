"""Tokens and their history in the admin: for looking, and for two named actions."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property

from spotify_auth import verbs
from spotify_auth.models import SpotifyToken, TokenEvent, UserId
from spotify_auth.text import one_line
from spotify_auth.verbs import Kind, Operator

MOST_AT_ONCE = 200
"""Tokens that one action takes: each may wait for its lock, and the page for all of them."""
MOST_COUNTED = 10_000
"""Rows of a list that have pages."""
SHOWN = 20
"""Users whom the confirmation names."""

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # Django's own is not generic at run time


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What the page in front of an action asks."""

    action: str
    title: str
    button: str


_REFRESH = Question(action="refresh_now", title="Refresh these tokens?", button="Refresh them")
_REVOKE = Question(action="revoke", title="Revoke these tokens?", button="Revoke them")


class ReasonForm(forms.Form):
    """Why an administrator acts, for the history of the token and of the admin."""

    reason = forms.CharField(
        max_length=TokenEvent._meta.get_field("reason").max_length,
        help_text="For the history, which other administrators read, and the user in an export: "
        "a ticket, for example.",
        error_messages={"required": "Say why: the history keeps it with your name."},
        widget=forms.TextInput(
            attrs={"class": "vTextField", "autofocus": True, "autocomplete": "off"}
        ),
    )

    def clean_reason(self) -> str:
        """One line of visible text."""
        reason = one_line(self.cleaned_data["reason"])
        if not reason:
            raise forms.ValidationError(self.fields["reason"].error_messages["required"])
        return reason


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # Django's own is not generic
    """Pages for the newest MOST_COUNTED rows; older ones are found by a filter or a search."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, as far as that matters: counting millions takes seconds."""
        return cast("QuerySet[Any]", self.object_list)[:MOST_COUNTED].count()


class LastErrorFilter(admin.SimpleListFilter):
    """The errors that there are at present, from the index of failing tokens.

    Django's own filter reads all rows for that, at each look at the list.
    """

    title = "last error"
    parameter_name = "last_error"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        failing = SpotifyToken.objects.exclude(last_error="").order_by("last_error")
        return [(error, error) for error in failing.values_list("last_error", flat=True).distinct()]

    def has_output(self) -> bool:
        # Otherwise filtering by an error that no token has any more would list every token.
        return bool(self.lookup_choices or self.value())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(last_error=self.value()) if self.value() else queryset


def fields_that_name_users() -> tuple[str, ...]:
    """What a list is searched for: the user's name and address, whatever the user model has."""
    model = get_user_model()
    fields = {field.name for field in model._meta.get_fields()}
    names = (model.USERNAME_FIELD, model.get_email_field_name())
    return tuple(f"user__{name}" for name in dict.fromkeys(names) if name in fields)


class ReadOnlyAdmin(_ModelAdmin):
    """No adding, no changing; deleting only along with the user."""

    paginator = CappedPaginator
    show_full_result_count = False

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


@admin.register(SpotifyToken)
class SpotifyTokenAdmin(ReadOnlyAdmin):
    """One row per connected user. The tokens themselves are never shown."""

    list_display = (
        "user",
        "status",
        "generation",
        "refreshed_at",
        "expires_at",
        "due_at",
        "failures",
        "last_error",
        "reauthorize_by",
    )
    list_filter = ("status", LastErrorFilter, "reauthorize_by")
    list_select_related = ("user",)
    search_fields = (*fields_that_name_users(), "account_id")
    fields = (
        "user",
        "account_id",
        "status",
        "scope",
        "generation",
        "authorized_at",
        "reauthorize_by",
        "refreshed_at",
        "expires_at",
        "due_at",
        "due_cause",
        "asked_by",
        "failures",
        "suspected_at",
        "last_error",
    )
    actions = ("refresh_now", "revoke")

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        """Whether *Refresh now* is offered, and taken."""
        return request.user.has_perm("spotify_auth.refresh_spotifytoken")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether *Revoke* is offered, and taken."""
        return request.user.has_perm("spotify_auth.revoke_spotifytoken")

    @admin.action(description="Refresh now (in the background)", permissions=["refresh"])
    def refresh_now(
        self, request: HttpRequest, queryset: QuerySet[SpotifyToken]
    ) -> HttpResponse | None:
        """Nudge the selected tokens, after a reason; a worker refreshes them."""
        return self._with_reason(request, queryset, _REFRESH, self._refresh)

    @admin.action(description="Revoke (erase our copy)", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[SpotifyToken]) -> HttpResponse | None:
        """Erase both tokens of the selected users, after a confirmation and a reason."""
        return self._with_reason(request, queryset, _REVOKE, self._revoke)

    def _with_reason(
        self,
        request: HttpRequest,
        queryset: QuerySet[SpotifyToken],
        question: Question,
        act: Callable[[HttpRequest, Sequence[UserId], str], None],
    ) -> HttpResponse | None:
        """Ask why, on a page of its own, and then act."""
        chosen = self._chosen(request, queryset)
        if chosen is None:
            return None
        form = ReasonForm(request.POST if request.POST.get("confirmed") == "yes" else None)
        if form.is_valid():
            act(request, chosen, form.cleaned_data["reason"])
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": question.title,
            "question": question,
            "form": form,
            "tokens": queryset.filter(pk__in=chosen[:SHOWN]).select_related("user"),
            "chosen": chosen,
            "not_shown": max(0, len(chosen) - SHOWN),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/spotify_auth/confirm_action.html", context)

    def _chosen(
        self, request: HttpRequest, queryset: QuerySet[SpotifyToken]
    ) -> list[UserId] | None:
        """Users of the selected tokens; None, and a message, if there are too many."""
        # One more than allowed, and no count: "select all" may mean a million.
        chosen = list(queryset.values_list("user_id", flat=True)[: MOST_AT_ONCE + 1])
        if len(chosen) <= MOST_AT_ONCE:
            return chosen
        self.message_user(
            request,
            f"More than {MOST_AT_ONCE} tokens are selected, and nothing was done: each is taken "
            "under its own lock. Narrow the list with the filters or the search.",
            messages.ERROR,
        )
        return None

    def _refresh(self, request: HttpRequest, chosen: Sequence[UserId], reason: str) -> None:
        nudged = sum(
            verbs.refresh(user_id, operator=Operator.of(request.user), reason=reason).is_done
            for user_id in chosen
        )
        self.message_user(
            request,
            f"{nudged} of {len(chosen)} tokens will be refreshed by a worker. The others are "
            "not connected, are being refreshed at this moment, or wait for a confirmation.",
            messages.SUCCESS if nudged else messages.WARNING,
        )

    def _revoke(self, request: HttpRequest, chosen: Sequence[UserId], reason: str) -> None:
        operator, came_of_it = Operator.of(request.user), Counter[Kind]()
        for user_id in chosen:
            kind = verbs.revoke(user_id, operator=operator, reason=reason).kind
            came_of_it[kind] += 1
            if kind is not Kind.BUSY:
                self.after_revoking(user_id)
        if busy := came_of_it[Kind.BUSY]:
            self.message_user(
                request,
                f"{busy} tokens were being refreshed for longer than this page can wait: "
                "revoke them once more.",
                messages.WARNING,
            )
        self.message_user(
            request,
            f"{came_of_it[Kind.DONE]} tokens were erased here. Spotify has no revocation endpoint: "
            "to end the access there too, each user must remove the app at "
            "https://www.spotify.com/account/apps/.",
            messages.SUCCESS,
        )

    def after_revoking(self, user_id: UserId) -> None:
        """For projects: what else ends when a user's token is revoked. Nothing here."""


@admin.register(TokenEvent)
class TokenEventAdmin(ReadOnlyAdmin):
    """The history of all tokens."""

    list_display = (
        "at",
        "user",
        "cause",
        "asked_by",
        "reason",
        "outcome",
        "generation_before",
        "generation_after",
        "rotated",
        "lifetime_used",
        "lifetime_granted",
        "duration_ms",
        "error",
        "worker",
    )
    list_filter = ("outcome", "cause", "rotated", "at")
    list_select_related = ("user",)
    search_fields = (*fields_that_name_users(), "user__spotify_token__account_id")
