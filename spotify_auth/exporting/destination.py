"""What every destination can do."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from spotify_auth.models import UserId


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

    def check(self, user_id: UserId) -> None:
        """Look whether there is a place for a user's tokens. Raises NoPlace."""

    def put(self, kept: Kept) -> None:
        """Take a pair, in the caller's transaction. Raises NoPlace."""

    def settle(self) -> None:
        """Make durable what was put, before the caller's transaction is committed."""
