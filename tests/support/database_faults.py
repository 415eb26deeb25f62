"""Faults of PostgreSQL as a client meets them, made on the test's own database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError
from django.db import connection as database
from django.db.backends.utils import CursorWrapper

from tests.support.processes import wait_for


def cut_the_connection() -> None:
    """End this thread's own session, as a restarted PostgreSQL would."""
    end_session(own_session())


def own_session() -> int:
    """The process in PostgreSQL that serves this thread."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        process_id: int = cursor.fetchone()[0]
    return process_id


def end_session(process_id: int) -> None:
    """End a session from outside, and wait until it is gone, with its locks."""
    killer = database.copy()
    with killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [process_id])
        # PostgreSQL could wait by itself: for 100 ms at least.
        wait_for(lambda: not _is_there(cursor, process_id), what="the session to end", every=0.002)
    killer.close()


def _is_there(cursor: CursorWrapper, process_id: int) -> bool:
    cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [process_id])
    return bool(cursor.rowcount)


def sessions_of(application: str) -> int:
    """How many sessions a process has whose PGAPPNAME this is."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %s",
            [application],
        )
        count: int = cursor.fetchone()[0]
    return count


@contextmanager
def locked_elsewhere(statement: str, *parameters: int) -> Iterator[None]:
    """Hold what this statement locks, as another transaction might."""
    other = database.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(statement, parameters)
            yield
            # PostgreSQL lets go now, and not some time after the connection is closed.
            cursor.execute("ROLLBACK")
    finally:
        other.close()


@contextmanager
def commit_unacknowledged() -> Iterator[None]:
    """This thread's COMMITs come through, and it does not learn of it."""

    def lose_the_answer(execute: Callable[..., Any], sql: str, *how: Any) -> Any:
        answer = execute(sql, *how)
        if "; COMMIT" in sql:
            raise OperationalError("the connection was cut after COMMIT")
        return answer

    with database.execute_wrapper(lose_the_answer):
        yield
