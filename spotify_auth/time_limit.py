"""A limit to what PostgreSQL may take for work that others must not wait for."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from spotify_auth.schedule import STATEMENT_SECONDS


@contextmanager
def limited(*, seconds: float | None = None) -> Iterator[CursorWrapper]:
    """A transaction in which no statement works, or waits for a lock, for longer than this.

    Unless the caller says how long, it is as for a statement of a lane. The limit ends with the
    transaction, so it does no harm behind a pooler. Raises django.db.OperationalError for a
    statement that would take longer.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        limit = f"{(seconds or STATEMENT_SECONDS) * 1000:.0f}"
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
        yield cursor
