"""The list of events: quick at hundreds of millions, since it goes through a part of them."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString

from spotify_auth.admin_pages import people
from spotify_auth.admin_pages.columns import outcome_in_words
from spotify_auth.admin_pages.filters import (
    UserFilter,
    WindowFilter,
    newest_event,
    oldest_event,
)
from spotify_auth.models import TokenEvent
from spotify_auth.templatetags.moments import moment

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[TokenEvent]
else:
    _ModelAdmin = object


class EventPages(_ModelAdmin):
    """What a `ModelAdmin` of events shows, and how they are found."""

    list_display = (
        *("when", "user", "what", "cause", "asked_by", "reason", "pair"),
        *("age_at_refresh", "took", "worker"),
    )
    list_filter = (WindowFilter, UserFilter, "outcome", "cause", "rotated")
    list_select_related = ("user",)
    sortable_by = ()  # a column without an index would sort them all
    names: tuple[str, ...] = people.fields_that_name_users()
    """Fields of the user model that the search looks into."""
    search_fields = ("user__pk",)  # Django shows the field for it; `get_search_results` searches
    search_help_text = people.HELP

    class Media:
        css = {"all": ["spotify_auth/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With PostgreSQL's clock."""
        return super().get_queryset(request).annotate(now=Now())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The events of users who are called like this: all of one user's, the newest of many."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = people.find(term, names=self.names)
        if len(found) == 1:
            return queryset.filter(user_id=found[0]), False
        oldest = oldest_event(newest_event(request))
        return queryset.filter(user_id__in=found, pk__gt=oldest), False

    @admin.display(description="When")
    def when(self, event: Any) -> SafeString:
        """How long ago; the exact time is in the element's title."""
        return moment(event.at, event.now)

    @admin.display(description="What")
    def what(self, event: TokenEvent) -> str:
        """The outcome, and why if it failed."""
        return outcome_in_words(event)

    @admin.display(description="Pair")
    def pair(self, event: TokenEvent) -> str:
        """The generation before and after."""
        return pair_of(event)

    @admin.display(description="Age at refresh")
    def age_at_refresh(self, event: TokenEvent) -> str:
        """How much of its life the replaced token had used."""
        return age_of(event)

    @admin.display(description="Took")
    def took(self, event: TokenEvent) -> str:
        """How long the exchange was."""
        return "" if event.duration_ms is None else f"{event.duration_ms} ms"


def pair_of(event: TokenEvent) -> str:
    """The generation before and after: "3 → 4", or the one that it was about."""
    before, after = event.generation_before, event.generation_after
    if before and after and before != after:
        return f"{before} → {after}"
    return str(after or before or "")


def age_of(event: TokenEvent) -> str:
    """How much of its life the replaced token had used: "2700 s of 3600 s"."""
    if event.lifetime_used is None:
        return ""
    used = f"{event.lifetime_used} s"
    return f"{used} of {event.lifetime_granted} s" if event.lifetime_granted else used
