"""The transaction of one refresh: BEGIN travels with the claim, COMMIT with the write.

`transaction.atomic` sends BEGIN and COMMIT as messages of their own: two of the four round
trips of a refresh to PostgreSQL (docs/explanation/decisions.md). And once the write is
sent, PostgreSQL commits it even if this process is killed before the answer arrives.

    with ClaimTransaction() as transaction:
        row = transaction.claim("SELECT … FOR UPDATE SKIP LOCKED", parameters)
        …
        transaction.commit("UPDATE …", parameters)
"""

import select
import time
from collections.abc import Mapping
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db import transaction as django_transaction
from psycopg import adapt, generators
from psycopg.abc import Transformer
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

BELIEVED_SECONDS = 1.0
"""How long a claim is believed without asking PostgreSQL. Nobody gets a row sooner whose lane
has fallen silent: PostgreSQL waits for the longest exchange, and a failover takes seconds."""

# Unlike the monotonic clock, it counts the time for which the host was suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_DONE = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}

Row = tuple[Any, ...]


class ClaimTransaction:
    """Holds a claimed row's lock until the write commits, or until the block ends.

    Leaving the block without `commit` rolls back. A database error also closes the
    connection: the server may be gone, or be a read-only standby by now, and a new
    connection finds the present one. Inside another transaction it is a savepoint of it.
    """

    def __init__(self) -> None:
        # `django.db.connection` looks for this thread's at each of its attributes.
        self._database = connections[DEFAULT_DB_ALIAS]
        is_nested = self._database.in_atomic_block
        self._savepoint = django_transaction.atomic() if is_nested else None
        self._begun = False
        self._claimed_at = 0.0

    def __enter__(self) -> Self:
        if self._savepoint:
            self._savepoint.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._savepoint:
            self._savepoint.__exit__(kind, error, traceback)
            return
        if self._begun:
            self._roll_back()
        if isinstance(error, Error):
            self._database.close()

    def claim(self, sql: str, parameters: Mapping[str, Any]) -> Row | None:
        """The first row of the last statement in `sql`, or None. Raises django.db.Error."""
        self._claimed_at = time.clock_gettime(_CLOCK)
        if not self._savepoint and not self._begun:
            self._begun = True
            sql = f"BEGIN; {sql}"
        return self._first_row(self._send(sql, parameters)[-1])

    def verify_lock(self) -> None:
        """Make sure that this session, and with it the row lock, still exists.

        Raises django.db.Error if not. PostgreSQL is asked only when there is a doubt: asking
        each time cost a quarter of the refreshes of two busy workers. A session that the
        server has ended has left its last word in the socket. A process that was frozen, a
        host that was suspended or cut off from PostgreSQL holds a claim that is old.
        """
        age = time.clock_gettime(_CLOCK) - self._claimed_at
        if age > BELIEVED_SECONDS or self._has_unread_data():
            self._send("SELECT 1", {})

    def commit(self, sql: str, parameters: Mapping[str, Any]) -> int:
        """Write and commit; how many rows were written.

        Raises django.db.Error. If the connection was lost, the write may be committed.
        """
        return self._write(sql, parameters).command_tuples or 0

    def commit_returning(self, sql: str, parameters: Mapping[str, Any]) -> Row | None:
        """The same for a statement that returns what it wrote: its first row, or None."""
        return self._first_row(self._write(sql, parameters))

    def _write(self, sql: str, parameters: Mapping[str, Any]) -> PGresult:
        if self._begun:
            sql = f"{sql}; COMMIT"
        result, *_ = self._send(sql, parameters)
        self._begun = False
        return result

    def _send(self, sql: str, parameters: Mapping[str, Any]) -> list[PGresult]:
        """The result of each statement in `sql`, which travel as one message.

        By psycopg's own parts and without its cursor, or Django's: with them, a message costs
        the worker twice as much (docs/explanation/decisions.md).
        """
        if self._database.queries_logged:  # DEBUG, and tests that count
            self._database.queries_log.append({"sql": sql, "time": "0.000"})
        send = self._exchange
        for wrapper in reversed(self._database.execute_wrappers):  # a project may watch its queries
            send = partial(wrapper, send)
        return send(sql, parameters, False, {"connection": self._database, "cursor": None})

    def _exchange(
        self, sql: str, parameters: Mapping[str, Any], _many: bool, _context: Mapping[str, Any]
    ) -> list[PGresult]:
        session, as_literal = self._session, self._adapter.as_literal
        with self._database.wrap_database_errors:
            literals = {
                name: "NULL" if value is None else as_literal(value).decode()
                for name, value in parameters.items()
            }
            session.pgconn.send_query((sql % literals).encode())
            results: list[PGresult] = session.wait(generators.execute(session.pgconn))
            for result in results:
                if result.status not in _DONE:
                    raise psycopg.errors.error_from_result(result)
        return results

    @cached_property
    def _session(self) -> psycopg.Connection:
        """The session that all messages go to: the row lock is its own.

        Once in each task Django checks whether the session still works, and opens another if not.
        After the claim that would hide the loss of the lock, so the check comes first.
        """
        self._database.close_if_health_check_failed()
        self._database.ensure_connection()
        session: psycopg.Connection = self._database.connection
        return session

    @cached_property
    def _adapter(self) -> Transformer:
        return adapt.Transformer.from_context(self._session)

    def _first_row(self, result: PGresult) -> Row | None:
        if not result.ntuples:
            return None
        self._adapter.set_pgresult(result)
        return self._adapter.load_row(0, tuple)

    def _has_unread_data(self) -> bool:
        """Whether PostgreSQL, or the end of the connection, has something to say."""
        poll = select.poll()
        poll.register(self._session.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _roll_back(self) -> None:
        try:
            with self._database.cursor() as cursor:
                cursor.execute("ROLLBACK")
        except Error:
            self._database.close()
