"""All that is stored about one user, for that user: JSON in pieces, however long the history is.

What a user may not have is named in WITHHELD. A test holds these lists to the models: a new field
belongs into one of them, and a new table about users into `pieces`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib.admin.models import LogEntry
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import LoginSession, ReconnectReminder, User
from spotify_auth.connections import database_now
from spotify_auth.history.unfolding import unfold
from spotify_auth.models import LastSeen, Notice, SpotifyToken, TokenEvent

AT_ONCE = 500
"""Rows of the history that are in memory at the same time."""

FIELDS: Mapping[type[Model], tuple[str, ...]] = {
    User: (
        *("id", "username", "first_name", "last_name", "email", "display_name", "account_id"),
        *("is_active", "is_staff", "is_superuser", "date_joined", "last_login", "seen_at"),
        "sessions_ended",
    ),
    SpotifyToken: (
        *("account_id", "status", "scope", "generation", "authorized_at", "authorized_at_known"),
        *("reauthorize_by", "refreshed_at", "expires_at", "due_at", "due_cause", "asked_by"),
        *("failures", "closed_at", "suspected_at", "appeal_at", "appeals", "last_error"),
    ),
    LastSeen: ("seen_at",),
    LoginSession: ("user_agent", "since", "seen_at"),
    ReconnectReminder: ("reauthorize_by", "days", "sent_at"),
    TokenEvent: (
        *("at", "cause", "asked_by", "reason", "outcome", "generation_before", "generation_after"),
        *("rotated", "lifetime_granted", "lifetime_used", "duration_ms", "error"),
        "ended_trouble",
    ),
    Notice: ("at", "kind", "data"),
    LogEntry: ("action_time", "object_repr", "action_flag", "change_message"),
    TOTPDevice: ("name", "confirmed", "created_at", "last_used_at"),
    StaticDevice: ("name", "confirmed", "created_at", "last_used_at"),
}
"""What is given of each table."""

_OF_THE_CODES = "how codes are computed, and nothing about the user"
_THROTTLING = ("throttling_failure_timestamp", "throttling_failure_count")

WITHHELD: Mapping[type[Model], Mapping[str, str]] = {
    User: {"password": "its hash would let somebody guess it"},
    SpotifyToken: {
        "access_token": "a secret: whoever has it is the user at Spotify",
        "refresh_token": "a secret, as the access token",
        "user": "the user themselves",
    },
    LastSeen: {"user": "the user themselves"},
    LoginSession: {
        "id": "says nothing",
        "session": "what the database has in place of the session's key",
        "user": "the user themselves",
    },
    ReconnectReminder: {"id": "says nothing", "user": "the user themselves"},
    TokenEvent: {
        "id": "says nothing",
        "user": "the user themselves",
        "worker": "a machine of ours, and nothing about the user",
    },
    Notice: {
        "id": "says nothing",
        "user": "the user themselves",
        "once": "repeats what the notice says",
        "handed_out": "how far our own work is",
    },
    LogEntry: {
        "id": "says nothing",
        "user": "the user themselves",
        "content_type": "a number that changes with each installation",
        "object_id": "may be another user's",
    },
    TOTPDevice: {
        "id": "says nothing",
        "user": "the user themselves",
        "key": "a secret: whoever has it has the second factor",
        **dict.fromkeys(("step", "t0", "digits", "tolerance", "drift", "last_t"), _OF_THE_CODES),
        **dict.fromkeys(_THROTTLING, "counts wrong codes"),
    },
    StaticDevice: {
        "id": "says nothing",
        "user": "the user themselves",
        **dict.fromkeys(_THROTTLING, "counts wrong codes"),
    },
}
"""What is not, and why."""

_OF_ONE_ROW: Mapping[str, type[Model]] = {"connection": SpotifyToken, "last_seen": LastSeen}
_LISTS: Mapping[str, type[Model]] = {
    "sessions": LoginSession,
    "reminders": ReconnectReminder,
    "history": TokenEvent,
    "notices": Notice,
    "administration": LogEntry,
    "authenticators": TOTPDevice,
    "backup_codes": StaticDevice,
}


def pieces(user: User) -> Iterator[str]:
    """The document in pieces; docs/reference/my-data.schema.json describes it."""
    yield '{"format": 1, "exported_at": ' + _json(database_now())
    yield ', "user": ' + _json(_one(User, User.objects.filter(pk=user.pk)))
    for name, model in _OF_ONE_ROW.items():
        rows = model._default_manager.filter(pk=user.pk)
        yield f', "{name}": ' + _json(_one(model, rows))
    groups = list(user.groups.order_by("name").values_list("name", flat=True))
    yield ', "groups": ' + _json(groups)
    permissions = user.user_permissions.order_by("codename").values_list("codename", flat=True)
    yield ', "permissions": ' + _json(list(permissions))
    for name, model in _LISTS.items():
        yield f', "{name}": ['
        yield from _list(model, model._default_manager.filter(user_id=user.pk))
        yield "]"
    yield "}\n"


def _one(model: type[Model], rows: QuerySet[Any]) -> dict[str, Any] | None:
    return rows.values(*FIELDS[model]).first()


def _list(model: type[Model], rows: QuerySet[Any]) -> Iterator[str]:
    """The rows, newest first, but for notices, from one short query after the other.

    No cursor stays open.
    """
    before, separator = None, ""
    while True:
        page = (
            rows.order_by("-pk") if before is None else rows.order_by("-pk").filter(pk__lt=before)
        )
        found = list(page[:AT_ONCE])
        for each in unfold(found) if model is TokenEvent else found:
            yield separator + _json({name: getattr(each, name) for name in FIELDS[model]})
            separator = ", "
        if len(found) < AT_ONCE:
            return
        before = found[-1].pk


def _json(value: object) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)
