"""The functions that keep plans (`refresh.plans`): `migrate` makes those of this version."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connection, transaction

from spotify_auth.refresh import claims, store
from spotify_auth.refresh.plans import DIGITS, PREFIX, KeptStatement

logger = logging.getLogger(__name__)

KEPT_VERSIONS = 3
"""Of each function: this version's, and those of the two before it, which may still run."""

_LOCK = 0x6B6565706572
"""Of those who make functions at the same time: migrations that start together."""
_OURS = """
SELECT proname, oid::regprocedure::text FROM pg_proc
WHERE proname ~ %s AND pg_function_is_visible(oid) AND pg_has_role(proowner, 'USAGE')
ORDER BY oid DESC
"""


def wanted() -> Sequence[KeptStatement]:
    """The statements of this version that are kept."""
    return [claims.KEPT_FROM_CURSOR, *store.KEPT.values()]


def missing() -> list[KeptStatement]:
    """Those of them that PostgreSQL has no function for. Raises django.db.Error."""
    statements = {statement.name: statement for statement in wanted()}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regproc(name) IS NULL",
            [[*statements]],
        )
        return [statements[name] for (name,) in cursor.fetchall()]


def make_after_migrations(*, using: str, **kwargs: Any) -> None:
    """What `migrate` calls at its end: make what is missing, drop what is too old.

    Where the tables are gone, all functions go.
    """
    if using != DEFAULT_DB_ALIAS or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('spotify_auth_spotifytoken') IS NOT NULL")
        tables_are_there = cursor.fetchone()[0]
    if not tables_are_there:
        _drop_all_but(0)
    elif missing():
        try:
            _make()
        except ProgrammingError as error:
            # This role may make none. Refreshing goes on without them.
            logger.warning("functions_not_made reason=%s", type(error.__cause__).__name__)


@transaction.atomic
def _make() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for statement in missing():  # by now
            cursor.execute(statement.definition)
    _drop_all_but(KEPT_VERSIONS)


def _drop_all_but(newest: int) -> None:
    """Drop our functions, except for so many of each that were made last."""
    seen: dict[str, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(_OURS, [f"^{re.escape(PREFIX)}[a-z_]+_[0-9a-f]{{{DIGITS}}}$"])
        for name, signature in cursor.fetchall():
            purpose = name[: -DIGITS - 1]
            seen[purpose] = seen.get(purpose, 0) + 1
            if seen[purpose] > newest:
                cursor.execute(f"DROP FUNCTION IF EXISTS {signature}")
