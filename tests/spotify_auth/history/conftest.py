"""A history as lanes would leave it."""

# ruff: noqa: S608  (constants of the app)

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection as database

from accounts.models import User
from spotify_auth.history.tables import ROUTINE
from tests.support.tokens import Connect

Routine = Callable[..., None]
"""The fixture `routine`."""


@pytest.fixture
def user(connect: Connect) -> User:
    """A connected user, without a history."""
    user = connect(due=False)
    user.spotify_auth_events.all().delete()
    return user


@pytest.fixture
def routine(user: User) -> Routine:
    """Write one routine event, as `refresh.store` does, so long ago."""

    def write(generation: int, ago: timedelta, *, of: User = user, rotated: bool = True) -> None:
        with database.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {ROUTINE} (user_id, at, generation_before, generation_after, "
                "rotated, lifetime_granted, lifetime_used, duration_ms) "
                "VALUES (%s, now() - %s::interval, %s, %s, %s, 3600, 2700, %s)",
                [of.pk, str(ago), generation - 1, generation, rotated, 100 + generation],
            )

    return write


def fetch(sql: str) -> list[tuple[object, ...]]:
    """All rows of a question."""
    with database.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def plan_of(sql: str) -> str:
    """How PostgreSQL went about it, with the pages that it touched."""
    rows = fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING off, COSTS off) {sql}")
    return "\n".join(str(line) for (line,) in rows)
