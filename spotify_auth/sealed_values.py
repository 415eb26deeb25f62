"""What PostgreSQL stores encrypted, table by table: under which keys, and sealed again.

A value begins with its form and the id of its key (`encryption.HEAD_BYTES`), so the keys in use
are counted without decrypting anything.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection, models
from psycopg import sql

from spotify_auth.encryption import HEAD_BYTES, DecryptionError, cipher
from spotify_auth.fields import EncryptedTextField

PrimaryKey = Any
"""Of whatever table: a number, a UUID, a text."""


@dataclass(frozen=True, slots=True)
class Row:
    """The encrypted columns of one row, as they were read. NULL is None."""

    primary_key: PrimaryKey
    stored: tuple[bytes | None, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unopened:
    """A value that no key opens. `reason` names its table, column, row and key."""

    primary_key: PrimaryKey
    reason: str


class Table:
    """A table with encrypted columns."""

    def __init__(self, model: type[models.Model], columns: Sequence[EncryptedTextField]) -> None:
        self.columns = tuple(columns)
        self.name = model._meta.db_table
        primary_key = model._meta.pk
        self._words = {
            "table": sql.Identifier(self.name),
            "pk": _identifier(primary_key),
            "pk_type": sql.SQL(primary_key.rel_db_type(connection) or ""),
        }

    def count_by_heads(self) -> Counter[tuple[bytes | None, ...]]:
        """How many rows have values with these beginnings, one for each column."""
        heads = sql.SQL(", ").join(self._head(column) for column in self.columns)
        query = sql.SQL("SELECT count(*), {heads} FROM {table} GROUP BY {heads}")
        return Counter(
            {
                tuple(None if head is None else bytes(head) for head in found): count
                for count, *found in self._fetch(query.format(heads=heads, **self._words), [])
            }
        )

    def outdated(self, *, after: PrimaryKey | None, limit: int) -> list[Row]:
        """The next rows, in the order of their keys, with a value that another key encrypts."""
        following = "" if after is None else "AND {pk} > %s "
        parameters = [*self._current(), *([] if after is None else [after]), limit]
        return self._rows(following + "ORDER BY {pk} LIMIT %s", parameters)

    def outdated_among(self, primary_keys: Sequence[PrimaryKey]) -> list[Row]:
        """Those of these rows that still have a value that another key encrypts."""
        parameters = [*self._current(), list(primary_keys)]
        return self._rows("AND {pk} = ANY(%s::{pk_type}[])", parameters)

    def reseal(self, rows: Sequence[Row]) -> tuple[set[PrimaryKey], list[Unopened]]:
        """Bring rows under the first key: those that were written, and what no key opens.

        A row that is locked, by a lane for example, is left alone, and so is one that has
        changed since it was read: each pair is sealed with a nonce of its own, so the stored
        bytes name it as exactly as a generation does. A value that no key opens stays as it is.
        """
        unopened: list[Unopened] = []
        renewed = [tuple(self._renewed(row, unopened)) for row in rows]
        changed = [(row, new) for row, new in zip(rows, renewed, strict=True) if new != row.stored]
        if not changed:
            return set(), unopened
        written = self._fetch(*self._update(changed))
        return {primary_key for (primary_key,) in written}, unopened

    def _renewed(self, row: Row, unopened: list[Unopened]) -> Iterable[bytes | None]:
        for column, stored in zip(self.columns, row.stored, strict=True):
            if stored is None or cipher().is_current(stored):
                yield stored
                continue
            try:
                plaintext = column.unseal(stored, primary_key=row.primary_key)
            except DecryptionError as error:
                unopened.append(Unopened(row.primary_key, str(error)))
                yield stored
            else:
                yield column.seal(plaintext, primary_key=row.primary_key)

    def _update(
        self, changed: Sequence[tuple[Row, tuple[bytes | None, ...]]]
    ) -> tuple[sql.Composed, list[Any]]:
        numbers = range(len(self.columns))
        names = [_identifier(column) for column in self.columns]
        statement = sql.SQL(
            """
            WITH locked AS (
                SELECT {pk} FROM {table} WHERE {pk} = ANY(%s::{pk_type}[]) FOR UPDATE SKIP LOCKED
            )
            UPDATE {table} AS present SET {set}
            FROM locked, unnest(%s::{pk_type}[], {arrays}) AS read (pk, {read})
            WHERE present.{pk} = locked.{pk} AND read.pk = locked.{pk} AND {unchanged}
            RETURNING present.{pk}
            """
        ).format(
            **self._words,
            set=sql.SQL(", ").join(
                sql.SQL("{} = read.{}").format(name, sql.Identifier(f"new{n}"))
                for n, name in enumerate(names)
            ),
            arrays=sql.SQL(", ").join([sql.SQL("%s::bytea[]")] * 2 * len(names)),
            read=sql.SQL(", ").join(
                sql.Identifier(f"{when}{n}") for when in ("old", "new") for n in numbers
            ),
            unchanged=sql.SQL(" AND ").join(
                sql.SQL("present.{} IS NOT DISTINCT FROM read.{}").format(
                    name, sql.Identifier(f"old{n}")
                )
                for n, name in enumerate(names)
            ),
        )
        keys = [row.primary_key for row, _ in changed]
        old = [[row.stored[n] for row, _ in changed] for n in numbers]
        new = [[renewed[n] for _, renewed in changed] for n in numbers]
        return statement, [keys, keys, *old, *new]

    def _rows(self, further: str, parameters: list[Any]) -> list[Row]:
        query = "SELECT {pk}, {columns} FROM {table} WHERE ({outdated}) "
        composed = sql.SQL(query + further).format(
            **self._words,
            columns=sql.SQL(", ").join(_identifier(column) for column in self.columns),
            outdated=sql.SQL(" OR ").join(
                sql.SQL("{} <> %s").format(self._head(column)) for column in self.columns
            ),
        )
        return [
            Row(primary_key, tuple(None if value is None else bytes(value) for value in stored))
            for primary_key, *stored in self._fetch(composed, parameters)
        ]

    def _current(self) -> list[Any]:
        return [cipher().current_head] * len(self.columns)

    def _head(self, column: EncryptedTextField) -> sql.Composed:
        name = _identifier(column)
        return sql.SQL("substring({} FROM 1 FOR {})").format(name, sql.Literal(HEAD_BYTES))

    @staticmethod
    def _fetch(query: sql.Composed, parameters: list[Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(query, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _identifier(field: "models.Field[Any, Any]") -> sql.Identifier:
    return sql.Identifier(str(field.column))


def tables() -> list[Table]:
    """Every table with an encrypted column, of this app and of the project's others."""
    found = []
    for model in apps.get_models():
        columns = [
            each for each in model._meta.local_fields if isinstance(each, EncryptedTextField)
        ]
        if columns and model._meta.managed and not model._meta.proxy:
            found.append(Table(model, columns))
    return found
