"""The list of tokens and the page of one: who is about to lose access, why, and since when."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import CharField, Model, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse

from spotify_auth import freshness, service_pause
from spotify_auth.admin_pages import people
from spotify_auth.admin_pages.columns import TIMES, TokenColumns, outcome_in_words
from spotify_auth.admin_pages.conditions import condition_of
from spotify_auth.admin_pages.events import age_of, pair_of
from spotify_auth.admin_pages.filters import KeyFilter, LastErrorFilter, NeedFilter
from spotify_auth.admin_pages.needs import MOST_COUNTED, NEEDS, Need
from spotify_auth.connections import database_now
from spotify_auth.history.unfolding import unfold
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.timeline import timeline

EVENTS_SHOWN = 50
"""Rows of the history on a token's page."""
EVENTS_DRAWN = 60

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[SpotifyToken]
    _ChangeList = ChangeList
else:
    _ModelAdmin = object
    _ChangeList = ChangeList


class TokenList(_ChangeList):
    """Django's list, which also knows the last event of each token that it shows."""

    def get_results(self, request: HttpRequest) -> None:
        """One query more, for all rows of the page."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        add_last_events(self.result_list)


class TokenPages(TokenColumns, _ModelAdmin):
    """What a `ModelAdmin` of tokens shows, and how it is found."""

    list_display = (
        *("person", "badge", "expires", "due", "pair", "last_outcome"),
        *("authorised", "reconnect_by"),
    )
    list_filter = (NeedFilter, "status", LastErrorFilter, KeyFilter)
    list_select_related = ("user",)
    sortable_by = ()  # a column without an index would sort a million rows
    names: tuple[str, ...] = people.fields_that_name_users()
    """Fields of the user model that the search looks into."""
    search_fields = ("account_id",)  # Django shows the field for it; `get_search_results` searches
    search_help_text = people.HELP
    fieldsets = (
        (
            "What it is",
            {"fields": ("user_link", "account_id", "generation", "scope", "key")},
        ),
        ("When", {"fields": tuple(TIMES)}),
        ("Why", {"fields": ("status", "failures", "error_in_words", "appeals")}),
        ("Who asked for the next refresh", {"fields": ("requested_by",)}),
    )
    change_form_template = "admin/spotify_auth/spotifytoken/change_form.html"
    change_list_template = "admin/spotify_auth/spotifytoken/change_list.html"

    class Media:
        css = {"all": ["spotify_auth/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TokenList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With PostgreSQL's clock, by which all times are told. The access token stays there."""
        return super().get_queryset(request).defer("access_token").annotate(now=Now())

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Most urgent first, as the index has them; the newest user first otherwise."""
        need = NEEDS.get(request.GET.get(NeedFilter.parameter_name, ""))
        return (need.order,) if need else ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The tokens of users who are called like this."""
        term = search_term.strip()
        if term:
            found = people.find(term, names=self.names)
            request.search_is_cut = len(found) >= people.MOST_FOUND  # type: ignore[attr-defined]
            queryset = queryset.filter(pk__in=found)
        return queryset, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, below how things are on the whole."""
        context = {
            "title": "Is anybody about to lose access?",
            "summary": _summary,
            "renewal_is_running": freshness.renewal_is_running,
            "service_pause": service_pause.current,
            "now": database_now,
            # Asked by the template, after the search.
            "search_is_cut": lambda: people.search_is_cut(request),
            "most_found": people.MOST_FOUND,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The facts of one token, between what they mean and what has happened to it."""
        token = context["original"]
        token.user_page_is_open = self._may_look_at(token.user, request)
        events = unfold(TokenEvent.objects.filter(user_id=token.pk)[:EVENTS_DRAWN])[:EVENTS_DRAWN]
        for event in events:
            event.__dict__ |= {
                "in_words": outcome_in_words(event),
                "pair": pair_of(event),
                "age": age_of(event),
            }
        context |= {
            "condition": condition_of(token, now=token.now),
            "now": token.now,
            "events": events[:EVENTS_SHOWN],
            "timeline": timeline(token, events, now=token.now),
            "title": f"Spotify token of {token.user}",
            "subtitle": None,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _may_look_at(self, user: Model, request: HttpRequest) -> bool:
        """Whether this administrator may open the user's page, if there is one."""
        if not self.admin_site.is_registered(type(user)):
            return False
        return self.admin_site.get_model_admin(type(user)).has_view_permission(request, user)


for _name, _field in TIMES.items():
    setattr(TokenPages, _name, _field)


def add_last_events(tokens: Iterable[Any]) -> None:
    """Give each token its `last_event`, or None, from one query for all."""
    by_user = {token.pk: token for token in tokens}
    newest = TokenEvent.objects.filter(user_id=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    keys = SpotifyToken.objects.filter(pk__in=by_user).order_by().values(last=Subquery(newest))
    found = {event.user_id: event for event in TokenEvent.objects.filter(pk__in=keys)}
    for user_id, token in by_user.items():
        token.last_event = found.get(user_id)


def _summary() -> list[tuple[Need, str]]:
    """How many tokens each need has; beyond MOST_COUNTED it says "more than". From one query."""
    first, *others = (_a_row_each(need) for need in NEEDS.values())
    counts = Counter(first.union(*others, all=True))
    return [(need, _in_words(counts[need.code])) for need in NEEDS.values()]


def _a_row_each(need: Need) -> QuerySet[SpotifyToken, str]:
    rows = SpotifyToken.objects.filter(need.condition()).order_by()
    code = Value(need.code, output_field=CharField())
    return rows.values_list(code, flat=True)[: MOST_COUNTED + 1]


def _in_words(count: int) -> str:
    return str(count) if count <= MOST_COUNTED else f"more than {MOST_COUNTED}"
