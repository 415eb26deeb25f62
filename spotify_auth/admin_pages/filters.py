"""The filters beside the lists. None reads more than it shows, but for the one that says so."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import BinaryField, F, Func, QuerySet, Value
from django.http import HttpRequest

from spotify_auth.admin_pages.needs import NEEDS
from spotify_auth.encryption import HEAD_BYTES, cipher
from spotify_auth.history.moments import last_event_ago
from spotify_auth.models import SpotifyToken, TokenEvent

Choices = list[tuple[str, str]]

EVENTS_LOOKED_AT = 100_000
"""Events that a list without a user goes through, at most, however many there are."""


class NeedFilter(admin.SimpleListFilter):
    """Who is about to lose access, and what else an operator looks for."""

    title = "what needs attention"
    parameter_name = "needs"

    def lookups(self, request: HttpRequest, model_admin: object) -> Choices:
        return [(need.code, need.label) for need in NEEDS.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        if (need := NEEDS.get(self.value() or "")) is None:
            raise IncorrectLookupParameters  # it shall not mean every token: bulk actions act on it
        return queryset.filter(need.condition())


class LastErrorFilter(admin.SimpleListFilter):
    """The errors that there are at present, from the index of failing tokens.

    Django's own filter reads all rows for that, at each look at the list.
    """

    title = "last error"
    parameter_name = "last_error"

    def lookups(self, request: HttpRequest, model_admin: object) -> Choices:
        failing = SpotifyToken.objects.exclude(last_error="").order_by("last_error")
        return [(error, error) for error in failing.values_list("last_error", flat=True).distinct()]

    def has_output(self) -> bool:
        # Otherwise filtering by an error that no token has any more would list every token.
        return bool(self.lookup_choices or self.value())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (error := self.value()):
            return queryset
        if "\0" in error:  # PostgreSQL takes none
            raise IncorrectLookupParameters
        return queryset.filter(last_error=error)


class KeyFilter(admin.SimpleListFilter):
    """Under which key the refresh token is encrypted.

    No index has that: it would cost every refresh an entry, for a question that is asked while a
    key is retired. The title says what it costs instead. Nothing is read before it is chosen.
    """

    title = "key (reads every token)"
    parameter_name = "key"

    def lookups(self, request: HttpRequest, model_admin: object) -> Choices:
        first, *retired = cipher().heads
        return [
            (first.hex(), f"{_id_of(first)}, the first"),
            *((head.hex(), f"{_id_of(head)}, retired") for head in retired),
            ("missing", "none of the keys here"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if not chosen:
            return queryset
        if chosen not in dict(self.lookup_choices):
            # A worker may have other keys than the page on which a bulk action was begun.
            raise IncorrectLookupParameters
        # Through annotations, since the field itself allows no look-up.
        rows: QuerySet[Any] = queryset.alias(
            key_head=Func(
                F("refresh_token"),
                Value(1),
                Value(HEAD_BYTES),
                function="substring",
                output_field=BinaryField(),
            )
        )
        if chosen == "missing":
            return rows.filter(refresh_token__isnull=False).exclude(key_head__in=cipher().heads)
        return rows.filter(key_head=bytes.fromhex(chosen))


class UserFilter(admin.SimpleListFilter):
    """One user's history: a page of a token leads here."""

    title = "user"
    parameter_name = "user"

    def lookups(self, request: HttpRequest, model_admin: object) -> Choices:
        chosen = request.GET.get(self.parameter_name)
        return [(chosen, f"Only user {chosen}")] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        try:
            return queryset.filter(user_id=get_user_model()._meta.pk.to_python(self.value()))
        except ValidationError:
            return queryset.none()


class WindowFilter(admin.SimpleListFilter):
    """How far back the list of all users' events begins.

    From there it goes back over EVENTS_LOOKED_AT events and no further, whatever else is asked of
    them: no index has their outcomes, and there are hundreds of millions of them.
    """

    title = "time (100,000 events each)"
    parameter_name = "before"
    _BACK = (
        ("1h", "up to an hour ago", timedelta(hours=1)),
        ("6h", "up to 6 hours ago", timedelta(hours=6)),
        ("1d", "up to a day ago", timedelta(days=1)),
        ("7d", "up to a week ago", timedelta(days=7)),
        ("30d", "up to 30 days ago", timedelta(days=30)),
    )

    def lookups(self, request: HttpRequest, model_admin: object) -> Choices:
        return [(code, label) for code, label, _ in self._BACK]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        newest = newest_event(request)
        queryset = queryset.filter(pk__lte=newest)
        of_some_users = request.GET.get(UserFilter.parameter_name) or request.GET.get("q")
        return queryset if of_some_users else queryset.filter(pk__gt=oldest_event(newest))

    @classmethod
    def back(cls, request: HttpRequest) -> timedelta | None:
        """How far back was chosen; None: not at all."""
        chosen = request.GET.get(cls.parameter_name)
        return next((back for code, _, back in cls._BACK if code == chosen), None)


def newest_event(request: HttpRequest) -> int:
    """The primary key of the event at which the chosen window begins; 0 if there is none."""
    if back := WindowFilter.back(request):
        return last_event_ago(back)
    return TokenEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def oldest_event(newest: int) -> int:
    """Before which event a window ends that begins at this one."""
    return newest - EVENTS_LOOKED_AT


def _id_of(head: bytes) -> str:
    """The key's id, as the log and the commands have it."""
    return head[1:].hex()
