"""The doctor looks whether routine events are folded."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from tests.spotify_auth.history.conftest import Routine
from tests.support.doctor import diagnose

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("hours", "daily_tables", "warned"), [(23, False, False), (25, False, True), (25, True, False)]
)
def test_routine_events_that_nobody_folds(
    routine: Routine, settings: Settings, hours: int, daily_tables: bool, warned: bool
) -> None:
    settings.ROUTINE_EVENT_DAILY_TABLES = daily_tables
    routine(2, timedelta(hours=hours))

    said = diagnose("history")

    words = f"Routine events are not folded: the oldest is {hours} h old."
    assert said.bad == ([("warning", words)] if warned else [])
