"""A cursor for a statement that PostgreSQL plans once a connection, not at each execution.

Django writes the parameters into the text of a statement, so that PostgreSQL meets a new one each
time: to plan a read took longer than to carry it out. psycopg lets PostgreSQL keep the plan of what
it executes often, if it may, and if the parameters travel by themselves.

It may not behind a pooler, which gives each transaction another session. A pooler shows: the
process that greeted us is not the one that answers.
"""

from weakref import WeakSet

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper

EXECUTIONS = 5
"""After so many the plan is kept: psycopg's own default, which Django turns off."""

_pooled: WeakSet[psycopg.Connection] = WeakSet()


def cursor() -> CursorWrapper:
    """A cursor of Django's connection, which checks, counts and logs as any other does.

    A kept plan promises the types of its columns: a statement casts those that a migration may
    change. Raises django.db.Error.
    """
    wrapper: CursorWrapper = connection.cursor()
    session: psycopg.Connection = connection.connection
    if session.prepare_threshold is None and session not in _pooled:
        with connection.wrap_database_errors:
            direct = _is_direct(session)
        if direct:
            session.prepare_threshold = EXECUTIONS
        else:
            _pooled.add(session)
    wrapper.cursor = psycopg.Cursor(session)
    return wrapper


def _is_direct(session: psycopg.Connection) -> bool:
    row = session.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] == session.info.backend_pid
