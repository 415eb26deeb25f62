"""What every source can do, and what it is told on the command line."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DEFAULT_DB_ALIAS, router

from spotify_auth.conf import settings
from spotify_auth.importing.candidates import Candidate, Found, Unusable
from spotify_auth.models import UserId

PATTERN = ".cache-{user}"
"""The names that spotipy gives to its cache files."""
SESSION_KEY = "token_info"
"""Under which it keeps its tokens in a session."""


class Refused(Exception):
    """The import does not begin, or goes no further. The message is for the operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What the command line says about a source."""

    client_id: str | None = None
    path: Path | None = None
    """A file, or a directory. None is the standard input of a source that reads a file."""
    user_field: str | None = None
    pattern: str = PATTERN
    session_key: str = SESSION_KEY


class Copy(Protocol):
    """A token at its source, held so that nobody else moves it."""

    @property
    def candidate(self) -> Candidate:
        """As it is now."""

    def erase(self) -> None:
        """Erase it at the source, when what the caller does is committed."""


class Source(Protocol):
    """A place where tokens are kept."""

    name: str
    erases_older_copies: bool
    """Whether what is older than the token here is a copy of the same login."""

    def open(self) -> None:
        """Look whether this can be imported. Raises Refused."""

    def total(self) -> int | None:
        """How many places there are to look at; None: that is not known beforehand."""

    def found(self) -> Iterator[Found]:
        """What there is, newest first where that can be told."""

    def held(self, candidate: Candidate) -> AbstractContextManager[Copy | None]:
        """Hold what was found; None if it is not there any more, or another import has it.

        Raises Unusable if it has become so.
        """


def model(app_label: str, name: str, *, library: str) -> Any:
    """A model of another app. Raises Refused if it is not installed, or in another database."""
    try:
        found = apps.get_model(app_label, name)
    except LookupError:
        raise Refused(
            f'There is no table of {library} here: "{app_label}" is not among INSTALLED_APPS. '
            "It must be for as long as the command takes."
        ) from None
    require_our_database(found, of=library)
    return found


def require_our_database(model: Any, *, of: str) -> None:
    """Raise Refused if a table is not in the database of the tokens."""
    if router.db_for_write(model) != DEFAULT_DB_ALIAS:
        raise Refused(
            f"The table of {of} is in another database than the tokens here: they cannot be "
            "moved in one transaction. Write them into a CSV file."
        )


def require_our_client(client_id: str | None, *, where: str) -> None:
    """Raise Refused if tokens were granted to another application than the settings name."""
    if not client_id:
        raise Refused(
            f"{where} does not say to which application the tokens were granted. Give its client "
            "ID with --client-id."
        )
    if client_id != settings.SPOTIFY_CLIENT_ID:
        raise Refused(
            f"The tokens were granted to another application: {where} has the client ID "
            f"{client_id!r}, SPOTIFY_CLIENT_ID is {settings.SPOTIFY_CLIENT_ID!r}. Spotify would "
            "refuse every refresh. Set SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET to that "
            "application's."
        )


class Users:
    """Looks users up by one field of the user model."""

    def __init__(self, field: str) -> None:
        """Raises Refused for a field that the user model does not have."""
        self._model: Any = get_user_model()
        self.field = self._model._meta.pk.name if field == "pk" else field
        try:
            self._field: Any = self._model._meta.get_field(self.field)
        except FieldDoesNotExist:
            raise Refused(f"--user-field: users have no field {field!r}.") from None
        if self._field.is_relation:
            raise Refused(f"--user-field: {field!r} is no plain value.")

    def find(self, texts: list[str]) -> dict[str, UserId | Unusable]:
        """The user whom each of these texts names, by one query."""
        values: dict[str, Any] = {}
        for text in filter(None, texts):
            try:
                values[text] = self._field.to_python(text)
            except (ValidationError, ValueError, OverflowError):
                continue
        wanted = [each for each in values.values() if _can_be_asked_for(each)]
        rows = self._model._base_manager.filter(**{f"{self.field}__in": wanted})
        keys: dict[Any, list[UserId]] = {}
        for value, key in rows.values_list(self.field, "pk"):
            keys.setdefault(value, []).append(key)
        return {text: _only(keys.get(values.get(text), [])) for text in texts}


def _can_be_asked_for(value: object) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not (isinstance(value, str) and "\0" in value)


def _only(keys: list[UserId]) -> UserId | Unusable:
    if not keys:
        return Unusable("no such user")
    return keys[0] if len(keys) == 1 else Unusable("more than one user is meant")
