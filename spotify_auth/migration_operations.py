"""Migrations of tables that are in use.

A new column or a foreign key needs a whole table for a moment, and each lane holds its part of it
over an exchange. A statement that waits for lanes holds up everybody behind it, readers too: so it
waits in short turns, and lets the others through in between.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import OperationalError, migrations, router, transaction

TURNS_SECONDS = (1, 1, 2, 2, 4, 4, 8, 8, 32)
"""How long to wait for the table, each time; the last is longer than any lane holds it."""


class AddFieldInTurns(migrations.AddField):
    """Adds a column to a table that is in use."""

    def database_forwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        """Try until the table was free. Raises OperationalError if it never was."""
        change = partial(super().database_forwards, app_label, schema_editor, *states)
        _in_turns(app_label, schema_editor, change)


class RunSQLInTurns(migrations.RunSQL):
    """Runs a statement that locks tables in use, such as a foreign key to them.

    The migration must hold no lock that others wait for: it keeps that in between.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        """Try until the tables were free. Raises OperationalError if they never were."""
        change = partial(super().database_forwards, app_label, schema_editor, *states)
        _in_turns(app_label, schema_editor, change)


def _in_turns(app_label: str, schema_editor: Any, change: Callable[[], None]) -> None:
    if not router.allow_migrate(schema_editor.connection.alias, app_label):
        return  # it may be no PostgreSQL either
    for turn, seconds in enumerate(TURNS_SECONDS, start=1):
        try:
            with transaction.atomic(using=schema_editor.connection.alias):
                with schema_editor.connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{seconds}s'")
                change()
                return
        except OperationalError as error:
            not_free = getattr(error.__cause__, "sqlstate", None) == "55P03"
            if not not_free or turn == len(TURNS_SECONDS):
                raise
            time.sleep(seconds)
