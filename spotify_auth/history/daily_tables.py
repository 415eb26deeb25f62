"""Routine events in a table for each day, dropped when it is too old: ROUTINE_EVENT_DAILY_TABLES.

Lanes always write into the same table. After midnight, UTC, it is put aside under the name of its
day, as a log file is, and an empty one takes its place: no event is without a table at any time.
A day's events keep a row each, and no row is ever deleted: five times the disk of folded ones, for
the least work. Only the owner of the tables can do this.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import ProgrammingError, connection, transaction

from spotify_auth.conf import settings
from spotify_auth.database_faults import Fault, fault_of
from spotify_auth.history.pruning import MOST_DAYS
from spotify_auth.history.tables import EVENTS, ROUTINE

logger = logging.getLogger(__name__)

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"
# Named for yesterday: its last event is of then or of today, however long it was not put aside. If
# the clock was set back over midnight that name is taken: two days share the next one.
_DUE = f"""
SELECT name FROM (
    SELECT '{ROUTINE}_' || to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYYMMDD')
) AS yesterday (name)
WHERE to_regclass(name) IS NULL AND EXISTS (
    SELECT FROM ONLY {ROUTINE}
    WHERE id = (SELECT min(id) FROM ONLY {ROUTINE}) AND at < date_trunc('day', now(), 'UTC')
)
"""  # noqa: S608  (constants of this app)
_PUT_ASIDE = f"""
ALTER TABLE {ROUTINE} RENAME TO {{aside}};
ALTER INDEX routine_event_of_user RENAME TO {{aside}}_of_user;
ALTER INDEX {ROUTINE}_pkey RENAME TO {{aside}}_pkey;
CREATE TABLE {ROUTINE} (
    LIKE {{aside}} INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    CONSTRAINT {ROUTINE}_pkey PRIMARY KEY (id)
);
CREATE INDEX routine_event_of_user ON {ROUTINE} (user_id, id DESC);
ALTER TABLE {ROUTINE} INHERIT {EVENTS};
"""
_OPTIONS = "SELECT reloptions FROM pg_class WHERE oid = %s::regclass"
_ASIDE = f"""
SELECT inhrelid::regclass::text FROM pg_inherits
WHERE inhparent = '{EVENTS}'::regclass AND inhrelid::regclass::text ~ '^{ROUTINE}_[0-9]{{8}}$'
ORDER BY 1
"""  # noqa: S608
_COUNTED = """
SELECT NOT EXISTS (SELECT FROM {table} WHERE id > coalesce(
    (SELECT counted_to FROM spotify_auth_rolledup), 0
))
"""


def turn() -> None:
    """Put the table of a day that is over aside, if that is wanted; drop those that are too old.

    What is in use is left for the next minute. Raises django.db.Error.
    """
    if settings.ROUTINE_EVENT_DAILY_TABLES:
        _change(_put_aside)
    for table in _tables_aside():
        _change(_drop_if_old, table)


def _change(change: Any, *arguments: object) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
            change(cursor, *arguments)
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != "42501":
            raise
        logger.error(
            "daily_tables_refused table=%s needs=owner look_at=docs/how-to/partition-history.md",
            ROUTINE,
        )
    except Exception as error:
        if fault_of(error) is not Fault.BUSY:
            raise


def _put_aside(cursor: Any) -> None:
    cursor.execute(_DUE)
    if not cursor.fetchone():
        return
    # From here on nobody writes, and nobody has written what is not committed.
    cursor.execute(f"LOCK TABLE {ROUTINE} IN ACCESS EXCLUSIVE MODE")
    cursor.execute(_DUE)
    row = cursor.fetchone()
    if not row:
        return  # another worker was quicker
    (aside,) = row
    cursor.execute(_OPTIONS, [ROUTINE])
    options = cursor.fetchone()[0]
    cursor.execute(_PUT_ASIDE.format(aside=aside))
    if options:
        cursor.execute(f"ALTER TABLE {ROUTINE} SET ({', '.join(options)})")
    logger.info("daily_table_put_aside table=%s", aside)


def _tables_aside() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_ASIDE)
        return [name for (name,) in cursor.fetchall()]


def _drop_if_old(cursor: Any, table: str) -> None:
    day = datetime.strptime(table[-8:], "%Y%m%d").replace(tzinfo=UTC)
    # Put aside on the day after: it may have events of that day too.
    kept = timedelta(days=min(settings.ROUTINE_EVENT_RETENTION_DAYS, MOST_DAYS) + 2)
    cursor.execute("SELECT now() > %s", [day + kept])
    if not cursor.fetchone()[0]:
        return
    cursor.execute(_COUNTED.format(table=table))
    if cursor.fetchone()[0]:
        cursor.execute(f"DROP TABLE {table}")
        logger.info("daily_table_dropped table=%s", table)
