"""What was found at a source: a token pair that can be moved, or a reason why one cannot."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from spotify_auth.adopting import SPOTIFY_BEGAN
from spotify_auth.models import UserId
from spotify_auth.text import is_visible

LONGEST_TOKEN = 4096
"""Characters. Spotify's have some hundreds."""
LONGEST_SCOPE = 2000
_FARTHEST = timedelta(days=2)
"""How far ahead an access token may expire: one of Spotify's does within an hour."""


class Unusable(Exception):
    """What was found cannot be moved. The message says why, and shows no value."""


class Kind(StrEnum):
    """Why something that was found is not moved."""

    BAD = "bad"
    """It cannot be used."""
    OLDER_ACCOUNT = "older_account"
    """Its user has another Spotify account there, which is newer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is not moved. Neither `place` nor `reason` shows a secret."""

    place: str
    reason: str
    kind: Kind = Kind.BAD
    user_id: UserId | None = None


@dataclass(frozen=True, slots=True)
class Emptied:
    """A place whose token was moved before: there is nothing to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A token pair at its source. Times are in UTC."""

    place: str
    """For the operator: the row, the line or the file."""
    key: Any = field(repr=False)
    """By which the source finds it again."""
    user_id: UserId
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime | None
    """None: unknown."""
    scope: str
    authorized_at: datetime | None
    """When the user approved on Spotify; None: unknown."""
    account_id: str | None = None


Found = Candidate | Problem | Emptied


def token(name: str, value: object) -> str:
    """A token as text. Raises Unusable."""
    if value is None or value == "":
        raise Unusable(f"no {name}")
    if not isinstance(value, str):
        raise Unusable(f"the {name} is no text")
    if len(value) > LONGEST_TOKEN:
        raise Unusable(f"the {name} is too long: more than {LONGEST_TOKEN} characters")
    if not is_visible(value) or " " in value:
        raise Unusable(f"the {name} has characters that no token has")
    return value


def scope(value: object) -> str:
    """Granted scopes, as a text or as a list of texts; "" for None. Raises Unusable."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = " ".join(value)
    if value is None:
        return ""
    if not isinstance(value, str) or not is_visible(value) or len(value) > LONGEST_SCOPE:
        raise Unusable("the scope is no list of scopes")
    return " ".join(value.split())


def moment(name: str, value: object) -> datetime | None:
    """A time: seconds since 1970, or ISO 8601 with a time zone; None for none. Raises Unusable."""
    found = _moment(name, value)
    if found and found < SPOTIFY_BEGAN:
        raise Unusable(f"{name} lies before there was Spotify: is it in seconds?")
    return found


def expiry(value: object) -> datetime | None:
    """When an access token expires; None for none, and for 0 and the like. Raises Unusable."""
    expires_at = _moment("expires_at", value)
    if expires_at and expires_at > datetime.now(UTC) + _FARTHEST:
        raise Unusable("expires_at lies days ahead: is it in seconds?")
    return expires_at if expires_at and expires_at >= SPOTIFY_BEGAN else None


def _moment(name: str, value: object) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _from_text(name, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = _from_seconds(name, value)
    if not isinstance(value, datetime):
        raise Unusable(f"{name} is no time")
    if value.tzinfo is None:
        raise Unusable(f"{name} has no time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError:  # at the very ends of what a datetime can be
        raise Unusable(f"{name} is no time") from None


def _from_text(name: str, text: str) -> object:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Unusable(f"{name} is no time: write 2026-11-26T03:00:00+00:00") from None


def _from_seconds(name: str, seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise Unusable(f"{name} is no time: is it in seconds?") from None
