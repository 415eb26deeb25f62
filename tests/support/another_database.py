"""A project that keeps something else in another database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connections

_NAME = "other"


@contextmanager
def sqlite_beside() -> Iterator[str]:
    """The alias of an SQLite in memory, which knows nothing of PostgreSQL's statements."""
    connections.settings[_NAME] = {
        **settings.DATABASES["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {},
    }
    try:
        yield _NAME
    finally:
        # Django keeps a connection for each alias that was asked for: the next test has its own.
        connections[_NAME].close()
        del connections[_NAME], connections.settings[_NAME]
