"""A transaction whose BEGIN goes with its first statement, and its COMMIT with its last.

`transaction.atomic` sends BEGIN and COMMIT as messages of their own: two of the four round
trips of a refresh to PostgreSQL (docs/decisions.md). And once the last message is sent,
PostgreSQL commits also if this process is killed before the answer.

    with joined_transaction(), connection.cursor() as cursor:
        execute_first(cursor, "SELECT … FOR UPDATE", parameters)
        …
        execute_last(cursor, "UPDATE …", parameters)
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper


class _State(threading.local):
    joins = False
    """Whether this thread is inside a block that is a transaction of its own."""
    begun = False


_state = _State()


@contextmanager
def joined_transaction() -> Iterator[None]:
    """Roll back at the end what `execute_last` has not committed; the locks end in any case.

    Inside another transaction it is a savepoint of that one, as `atomic` is.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    _state.joins = True
    try:
        yield
    finally:
        _state.joins = False
        if _state.begun:
            _state.begun = False
            _roll_back()


def execute_first(cursor: CursorWrapper, sql: str, parameters: Mapping[str, Any]) -> None:
    """Execute, with BEGIN before it if nothing was begun. Raises django.db.Error."""
    if not _state.joins or _state.begun:
        cursor.execute(sql, parameters)
        return
    # Set before: PostgreSQL may have begun, and the answer be lost.
    _state.begun = True
    cursor.execute(f"BEGIN; {sql}", parameters)
    cursor.nextset()


def execute_last(cursor: CursorWrapper, sql: str, parameters: Mapping[str, Any]) -> None:
    """Execute, with COMMIT after it if a transaction was begun. Raises django.db.Error.

    After an error it may have been committed or not, if the connection was lost.
    """
    if not _state.begun:
        cursor.execute(sql, parameters)
        return
    cursor.execute(f"{sql}; COMMIT", parameters)
    _state.begun = False


def _roll_back() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except Error:
        connection.close()
