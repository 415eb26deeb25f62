"""Events for the history, as lanes would leave them."""

from collections.abc import Callable

import pytest
from django.db import connection as database

from accounts.models import User
from spotify_auth.figures import counts
from spotify_auth.models import TokenEvent

Happen = Callable[..., TokenEvent]
"""The fixture `happen`."""


@pytest.fixture
def user(db: None) -> User:
    """Somebody to whom the events belong."""
    return User.objects.create(username="somebody")


@pytest.fixture
def happen(user: User) -> Happen:
    """Add one event: by default a refresh of 120 ms, now."""

    def event(outcome: str = "refreshed", **columns: object) -> TokenEvent:
        values = {"cause": "schedule", "duration_ms": 120, **columns}
        return TokenEvent.objects.create(user=user, outcome=outcome, **values)

    return event


def total(outcome: str = "refreshed") -> int:
    """How many events of this outcome are counted, ever."""
    found = counts.totals().get(outcome)
    return found.events if found else 0


def sessions_waiting() -> list[int]:
    """The backends of this database that wait for a lock."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return [pid for (pid,) in cursor.fetchall()]
