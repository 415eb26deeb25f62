"""The columns of the list of tokens, and the facts of one: times relative and to the second."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from spotify_auth.admin_pages import conditions
from spotify_auth.encryption import HEAD_BYTES, cipher
from spotify_auth.failure_codes import meaning_of
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from spotify_auth.templatetags.moments import exactly, lasting, moment

NOTHING = "-"
_GIVEN_OUT = {SpotifyToken.Status.ACTIVE, SpotifyToken.Status.PAUSED}
"""Of these tokens readers get the access token, as long as it lives."""


class TokenColumns:
    """What a `ModelAdmin` of tokens shows. Rows have `now`, PostgreSQL's, and `last_event`."""

    @admin.display(description="User")
    def person(self, token: Any) -> str:
        """Whose it is."""
        return str(token.user)

    @admin.display(description="Status")
    def badge(self, token: Any) -> SafeString:
        """How it is, in one word."""
        return conditions.condition_of(token, now=token.now).badge

    @admin.display(description="Access")
    def expires(self, token: Any) -> SafeString | str:
        """For how long the access token lives still."""
        if token.status not in _GIVEN_OUT:
            return NOTHING
        words = "expired {}" if token.expires_at <= token.now else "expires {}"
        return format_html(words, moment(token.expires_at, token.now))

    @admin.display(description="Next refresh")
    def due(self, token: Any) -> SafeString | str:
        """When the next refresh is planned, or for how long it has been waiting."""
        if token.status != SpotifyToken.Status.ACTIVE:
            if token.appeal_at:
                return format_html("asked once more {}", moment(token.appeal_at, token.now))
            return NOTHING
        if conditions.sleeps(token):
            return "when its user comes back"
        if conditions.was_asked_for(token):
            return "at once: it was asked for"
        late = (token.now - token.due_at).total_seconds()
        if late < 0:
            return moment(token.due_at, token.now)
        if late < conditions.OVERDUE.total_seconds():
            return exactly(token.due_at, "due now")
        return exactly(token.due_at, f"overdue by {lasting(late)}")

    @admin.display(description="Pair")
    def pair(self, token: SpotifyToken) -> str:
        """The number of the token pair, its generation."""
        return str(token.generation)

    @admin.display(description="Last outcome")
    def last_outcome(self, token: Any) -> SafeString | str:
        """What came of the last thing that happened to it, and when."""
        event: TokenEvent | None = token.last_event
        if event is None:
            return NOTHING
        return format_html("{}, {}", outcome_in_words(event), moment(event.at, token.now))

    @admin.display(description="Authorised")
    def authorised(self, token: Any) -> SafeString:
        """When the user last approved."""
        words = "{}" if token.authorized_at_known else "not known, {} or earlier"
        return format_html(words, moment(token.authorized_at, token.now))

    @admin.display(description="Reconnect by")
    def reconnect_by(self, token: Any) -> SafeString | str:
        """When the six months end."""
        if token.status != SpotifyToken.Status.ACTIVE:
            return NOTHING
        day = token.reauthorize_by.strftime("%-d %b %Y")
        shown = day if token.authorized_at_known else f"not known, {day} at the latest"
        return exactly(token.reauthorize_by, shown)

    @admin.display(description="User")
    def user_link(self, token: Any) -> SafeString | str:
        """Whose it is, with a way to the user's own page for whom that is open."""
        user = token.user._meta
        if not token.user_page_is_open:
            return str(token.user)
        page = reverse(f"admin:{user.app_label}_{user.model_name}_change", args=[token.pk])
        return format_html('<a href="{}">{}</a>', page, token.user)

    @admin.display(description="Encrypted under")
    def key(self, token: SpotifyToken) -> str:
        """Which key: its id, and what it is to this process."""
        stored = token.__dict__.get("refresh_token")
        if stored is None:
            return NOTHING
        head = bytes(stored[:HEAD_BYTES])
        state = "retired" if cipher().knows(head) else "missing here"
        return f"key {head[1:].hex()}, {'the first' if cipher().is_current(head) else state}"

    @admin.display(description="Last error")
    def error_in_words(self, token: SpotifyToken) -> str:
        """The code, and what it means."""
        if not token.last_error:
            return NOTHING
        return f"{token.last_error}: {meaning_of(token.last_error)}"

    @admin.display(description="Requested by")
    def requested_by(self, token: SpotifyToken) -> str:
        """Why the next refresh takes place, and who asked for it."""
        cause = token.get_due_cause_display()
        return f"{cause} ({token.asked_by})" if token.asked_by else cause


_OPEN = {
    "authorized_at": "not known: {} or earlier ({})",
    "reauthorize_by": "not known: {} at the latest ({})",
}
"""Times of which an import could not tell more."""


def _time_field(name: str, label: str) -> Any:
    @admin.display(description=label)
    def shown(admin: object, token: Any) -> SafeString | str:
        value: datetime | None = getattr(token, name)
        if value is None:
            return NOTHING
        words = "{} ({})" if token.authorized_at_known else _OPEN.get(name, "{} ({})")
        return format_html(words, f"{value:%Y-%m-%d %H:%M:%S} UTC", moment(value, token.now))

    return shown


TIMES = {
    f"{name}_to_the_second": _time_field(name, label)
    for name, label in (
        ("authorized_at", "Authorised"),
        ("reauthorize_by", "Reconnect by"),
        ("refreshed_at", "Refreshed"),
        ("expires_at", "Access token expires"),
        ("due_at", "Due"),
        ("suspected_at", "Suspected since"),
        ("appeal_at", "Asked once more"),
        ("closed_at", "Erased"),
    )
}
"""The times of a token, as fields of its page."""


def outcome_in_words(event: TokenEvent) -> str:
    """What came of it, and why if it failed."""
    outcome = str(event.get_outcome_display())
    if event.outcome == Outcome.REFRESHED:
        outcome += ", new refresh token" if event.rotated else ", same refresh token"
    meaning = meaning_of(event.error)
    return f"{outcome}: {meaning}" if meaning else outcome
