"""Statements whose plans PostgreSQL keeps: each is a function in the database.

PostgreSQL parses and plans a statement anew each time it comes as text, which was half of what a
refresh cost there. For the statements of a function it does so once for each session, and behind
every pooler, since the function belongs to the database and not to the session
(docs/explanation/decisions.md).

A function's name ends with a digest of its definition: two releases that run side by side each
call their own, and a changed statement or user model makes another function. `migrate` makes them
(`maintenance.functions`). Where they are missing, the text is sent instead.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from django.db import ProgrammingError, connection

from spotify_auth.models import SpotifyToken
from spotify_auth.refresh.process import process

logger = logging.getLogger(__name__)

PREFIX = "spotify_auth_kept_"
DIGITS = 12
"""Of the digest, in hexadecimal."""

_PARAMETER = re.compile(r"%\((\w+)\)s")
KEY = "key"
"""In place of the type of the user's primary key."""
# What may become large is bigint, whatever the column: out of its range it is then an error of the
# data, as it is in the text, and not a function that does not exist.
TYPES = {
    "user_id": KEY,
    "due_from": "timestamptz",
    "generation": "bigint",
    "claimed_status": "text",
    "access_token": "bytea",
    "refresh_token": "bytea",
    "scope": "text",
    "issued_at": "timestamptz",
    "expires_in": "bigint",
    "due_in": "double precision",
    "dormant_after": "integer",
    "cause": "text",
    "requested_by": "text",
    "outcome": "text",
    "rotated": "boolean",
    "lifetime_used": "bigint",
    "duration_ms": "bigint",
    "worker": "text",
    "error": "text",
}
# A plan that is kept outlives the size of the tables for which it was made. In an empty one
# reading everything is the cheapest plan, so these plans may not: they use indexes from the
# beginning.
_DEFINITION = """
CREATE FUNCTION {name}({parameters}) RETURNS TABLE({columns}) LANGUAGE plpgsql
SET enable_seqscan = off AS $keeper$
#variable_conflict use_column
BEGIN
RETURN QUERY {text};
END
$keeper$
"""


class NotKept(ProgrammingError):
    """The function is not in the database, or does not fit its tables.

    The transaction is over. From now on the text is sent, so that another try succeeds.
    """


@dataclass(frozen=True, kw_only=True)
class KeptStatement:
    """A statement, written as psycopg wants it: `%(name)s` stands for a parameter."""

    purpose: str
    text: str
    columns: tuple[tuple[str, str], ...]
    """Name and exact type of what it returns."""

    @cached_property
    def name(self) -> str:
        """The function's."""
        digest = sha256(self._define("").encode()).hexdigest()
        return f"{PREFIX}{self.purpose}_{digest[:DIGITS]}"

    @property
    def definition(self) -> str:
        """SQL that makes the function, in the schema where tables are made."""
        return self._define(self.name)

    @cached_property
    def call(self) -> str:
        """SQL that calls the function."""
        arguments = ", ".join(f"%({name})s" for name in self.parameters)
        return f"SELECT * FROM {self.name}({arguments})"  # noqa: S608  (a name of our own)

    @property
    def parameters(self) -> list[str]:
        """Their names, in the order of the function's: whose row it is comes first."""
        names = dict.fromkeys(_PARAMETER.findall(self.text))
        return sorted(names, key=lambda name: name != "user_id")

    def _define(self, name: str) -> str:
        parameters = [(f"p_{name}", TYPES[name]) for name in self.parameters]
        return _DEFINITION.format(
            name=name,
            parameters=_typed(parameters),
            columns=_typed(self.columns),
            text=_PARAMETER.sub(r"p_\1", self.text).replace("%%", "%").strip(),
        )


def _typed(names: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {_key_type() if kind == KEY else kind}" for name, kind in names)


def _key_type() -> str:
    return str(SpotifyToken._meta.pk.rel_db_type(connection))


@contextmanager
def kept(statement: KeptStatement) -> Iterator[str]:
    """What to send: a call of the function; for a while after it was missed, the text.

    Raises NotKept when the function is missing.
    """
    if not process.functions.usable():
        yield statement.text
        return
    try:
        yield statement.call
    except ProgrammingError as error:
        process.functions.distrust()
        logger.warning("functions_missing sqlstate=%s", getattr(error.__cause__, "sqlstate", None))
        raise NotKept(*error.args) from error
