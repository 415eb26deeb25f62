"""social-auth-app-django's table: UserSocialAuth, with the tokens in `extra_data`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import F, QuerySet

from spotify_auth.importing import candidates
from spotify_auth.importing.candidates import Candidate, Found, Unusable
from spotify_auth.importing.ranking import newest_of_each_user
from spotify_auth.importing.source import Choices, Copy, model, require_our_client
from spotify_auth.profile import account_id_in

PROVIDER = "spotify"
_TOKENS = {"access_token", "refresh_token"}
_SAME_LOGIN = timedelta(minutes=1)
"""The row is made some moments after the login's tokens arrived."""
_TIMESTAMP = 2 * 365 * 24 * 3600
"""The library takes an `expires` beyond this for a moment, and else for seconds."""


@dataclass(frozen=True, slots=True)
class _Row:
    candidate: Candidate
    row: Any

    def erase(self) -> None:
        left = {name: it for name, it in self.row.extra_data.items() if name not in _TOKENS}
        # `modified` stays: it tells which of two accounts is newer.
        self.row.__class__.objects.filter(pk=self.row.pk).update(extra_data=left)


class SocialAuthSource:
    """The tokens that social-auth's logins stored."""

    name = "social-auth"
    erases_older_copies = False

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._rows: QuerySet[Any]

    def open(self) -> None:
        usersocialauth = model("social_django", "UserSocialAuth", library="social-auth")
        configured = getattr(django_settings, "SOCIAL_AUTH_SPOTIFY_KEY", None)
        require_our_client(
            self._choices.client_id or configured,
            where="--client-id" if self._choices.client_id else "SOCIAL_AUTH_SPOTIFY_KEY",
        )
        rows = usersocialauth.objects.filter(provider=PROVIDER)
        self._rows = rows.order_by("-modified", "-pk")

    def total(self) -> int | None:
        count: int = self._rows.count()
        return count

    def found(self) -> Iterator[Found]:
        return newest_of_each_user(
            self._rows,
            user="user_id",
            newest_first=[F("modified").desc(), F("pk").desc()],
            place=_place,
            is_emptied=_is_emptied,
            candidate=_candidate,
        )

    @contextmanager
    def held(self, candidate: Candidate) -> Iterator[Copy | None]:
        with transaction.atomic():
            row = self._rows.filter(pk=candidate.key).order_by().select_for_update().first()
            yield None if row is None or _is_emptied(row) else _Row(_candidate(row), row)


def _is_emptied(row: Any) -> bool:
    return isinstance(row.extra_data, dict) and "refresh_token" not in row.extra_data


def _candidate(row: Any) -> Candidate:
    data = row.extra_data
    if not isinstance(data, dict):
        raise Unusable("extra_data is no JSON object")
    auth_time = candidates.moment("auth_time", data.get("auth_time"))
    return Candidate(
        place=_place(row),
        key=row.pk,
        user_id=row.user_id,
        refresh_token=candidates.token("refresh token", data.get("refresh_token")),
        access_token=candidates.token("access token", data.get("access_token")),
        expires_at=_expiry(data, auth_time),
        scope=candidates.scope(data.get("scope")),
        authorized_at=_approval(row.created, auth_time),
        account_id=account_id_in(data),
    )


def _expiry(data: dict[str, Any], auth_time: datetime | None) -> datetime | None:
    """As the library reads it: seconds from `auth_time`, or a moment. It stores none by default."""
    seconds = data.get("expires_in") or data.get("expires")
    if seconds is None:
        return None
    try:
        if isinstance(seconds, str) and seconds.isdecimal():
            seconds = int(seconds)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise Unusable("expires is no time")
        if seconds > _TIMESTAMP:
            return candidates.expiry(seconds)
        return candidates.expiry(auth_time + timedelta(seconds=seconds)) if auth_time else None
    except (ValueError, OverflowError):  # of numbers that no time can be
        raise Unusable("expires is no time") from None


def _approval(created: datetime, auth_time: datetime | None) -> datetime | None:
    """When the user approved, if that can be told: `auth_time` is set by each refresh too."""
    if auth_time and abs(auth_time - created) <= _SAME_LOGIN:
        return min(auth_time, created)
    return None


def _place(row: Any) -> str:
    return f"UserSocialAuth {row.pk}"
