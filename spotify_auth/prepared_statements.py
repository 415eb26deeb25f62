"""A cursor for a statement that PostgreSQL plans once a connection, not at each execution.

Django writes the parameters into the text of a statement, so that PostgreSQL meets a new one each
time: to plan a read took longer than to carry it out. psycopg lets PostgreSQL keep the plan of what
it executes often, if it may, and if the parameters travel by themselves.

It may not behind a pooler, which gives each transaction another session. A pooler shows: the
process that greeted us is not the one that answers.
"""

from typing import Any
from weakref import WeakSet

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.utils import CursorWrapper

EXECUTIONS = 5
"""After so many the plan is kept: psycopg's own default, which Django turns off."""

_pooled: WeakSet[psycopg.Connection] = WeakSet()


def cursor() -> CursorWrapper:
    """A cursor of Django's connection, which checks, counts and logs as any other does.

    A kept plan promises the types of its columns: a statement casts those that a migration may
    change. Raises django.db.Error.
    """
    # Looked up once: `django.db.connection` looks for this thread's at each of its attributes.
    database = connections[DEFAULT_DB_ALIAS]
    database.validate_thread_sharing()
    database.close_if_health_check_failed()
    database.ensure_connection()
    session: psycopg.Connection = database.connection
    if session.prepare_threshold is None and session not in _pooled:
        with database.wrap_database_errors:
            direct = _is_direct(session)
        if direct:
            session.prepare_threshold = EXECUTIONS
        else:
            _pooled.add(session)
    # As `database.cursor()` does with a cursor of its own, which would be thrown away.
    wrap = database.make_debug_cursor if database.queries_logged else database.make_cursor
    cursor: Any = psycopg.Cursor(session)
    return wrap(cursor)


def _is_direct(session: psycopg.Connection) -> bool:
    row = session.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] == session.info.backend_pid
