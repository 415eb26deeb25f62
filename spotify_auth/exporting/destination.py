"""What every destination can do."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from spotify_auth.models import UserId
from spotify_auth.profile import account_id_in


class NoPlace(Exception):
    """A destination has no place for this user's tokens. The message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A token pair that is handed over. Times are in UTC."""

    user_id: UserId
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime
    scope: str
    authorized_at: datetime | None
    """None: unknown."""
    account_id: str | None


class Destination(Protocol):
    """A place that takes tokens."""

    name: str

    def open(self) -> None:
        """Look whether it is there. Raises importing.source.Refused."""

    def writing(self) -> AbstractContextManager[None]:
        """Be ready to take tokens. Raises importing.source.Refused."""

    def check(self, user_id: UserId, account_id: str | None) -> None:
        """Look whether there is a place for a user's tokens of an account. Raises NoPlace."""

    def put(self, kept: Kept) -> None:
        """Take a pair, in the caller's transaction. Raises NoPlace."""

    def settle(self) -> None:
        """Make durable what was put, before the caller's transaction is committed."""


def of_account(rows: Iterable[Any], account_id: str | None) -> Any:
    """Which of a user's rows at a library, whose first is the newest, is this Spotify account's.

    Else the newest that does not say whose it is, and None if there is none. Of an account that
    is not known it is the newest.
    """
    newest: dict[str | None, Any] = {}
    for row in rows:
        newest.setdefault(account_id_in(row.extra_data), row)
    if account_id is None:
        return next(iter(newest.values()), None)
    return newest.get(account_id) or newest.get(None)
