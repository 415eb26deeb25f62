"""A transaction whose BEGIN goes with its first statement, and its COMMIT with its last.

`transaction.atomic` sends BEGIN and COMMIT as messages of their own: two of the four round
trips of a refresh to PostgreSQL (docs/decisions.md). And once the last message is sent,
PostgreSQL commits also if this process is killed before the answer.

    with joined_transaction():
        row = execute_first("SELECT … FOR UPDATE", parameters)
        …
        execute_last("UPDATE …", parameters)

Many of them, one after the other, are one message each: the last statement of one goes with
the first of the next, COMMIT and BEGIN between them.

    with sent_ahead(lambda: ("SELECT … FOR UPDATE", parameters)):
        while …:
            with joined_transaction():
                …
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper

Statement = tuple[str, Mapping[str, Any]]
Row = tuple[Any, ...]

AHEAD_SECONDS = 1.0
"""How long a statement that was sent ahead is believed: its locks may go with the session."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    sql: str
    row: Row | None
    sent: float
    """By this process's monotonic clock."""


class _State(threading.local):
    joins = False
    """Whether this thread is inside a block that is a transaction of its own."""
    begun = False
    first_of_next: Callable[[], Statement | None] | None = None
    ahead: _Ahead | None = None
    """The first statement of a block that has not come yet: `begun` is that block's
    transaction."""


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
        if _state.begun and _state.ahead is None:
            _roll_back()


@contextmanager
def sent_ahead(first_of_next: Callable[[], Statement | None]) -> Iterator[None]:
    """Let each `execute_last` in here send the first statement of the next block as well.

    None says that no next block will come.

    That block begins with its transaction open and its row locked. If its first statement
    is another one after all, if it comes a second late or never, that transaction is rolled
    back: between two blocks nothing else may use the connection.

    The statement is recognised by its SQL alone. Its parameters have names of their own. It
    should have no way to fail by itself: an error of its own is raised by `execute_last`,
    whose statement has then been committed.
    """
    _state.first_of_next = first_of_next
    try:
        yield
    finally:
        _state.first_of_next = None
        if _state.begun:
            _roll_back()


def sent() -> str | None:
    """The SQL that was sent ahead for the block that begins now, if any was."""
    ahead = _ahead()
    return None if ahead is None else ahead.sql


def execute_first(sql: str, parameters: Mapping[str, Any]) -> Row | None:
    """The first row of the last statement in `sql`; None if it has none.

    BEGIN goes before it if nothing was begun. If `sql` was sent ahead, the row is that of
    then, with the parameters of then. Raises django.db.Error.
    """
    ahead = _ahead()
    if ahead is not None:
        if ahead.sql == sql:
            _state.ahead = None
            return ahead.row
        _roll_back()
    if _state.joins and not _state.begun:
        # Set before: PostgreSQL may have begun, and the answer be lost.
        _state.begun = True
        sql = f"BEGIN; {sql}"
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return _last_row(cursor)


def execute_last(sql: str, parameters: Mapping[str, Any]) -> int:
    """Execute, with COMMIT after it if a transaction was begun; how many rows it wrote.

    Raises django.db.Error. Then it may have been committed or not, if the connection was
    lost or a statement was sent ahead.
    """
    first = None
    if _state.begun:
        sql += "; COMMIT"
        ahead = _state.first_of_next() if _state.first_of_next else None
        if ahead is not None:
            first, its_parameters = ahead
            if not parameters.keys().isdisjoint(its_parameters):
                raise ValueError("the statement sent ahead has parameters of the same name")
            sql += f"; BEGIN; {first}"
            parameters = {**parameters, **its_parameters}
    begins = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        written: int = cursor.rowcount
        if first is None:
            _state.begun = False
        else:
            _state.ahead = _Ahead(first, _last_row(cursor), begins)
    return written


def _ahead() -> _Ahead | None:
    if _state.ahead is not None and time.monotonic() > _state.ahead.sent + AHEAD_SECONDS:
        _roll_back()
    return _state.ahead


def _last_row(cursor: CursorWrapper) -> Row | None:
    cursor.set_result(-1)
    row: Row | None = cursor.fetchone()
    return row


def _roll_back() -> None:
    _state.begun, _state.ahead = False, None
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except Error:
        connection.close()
