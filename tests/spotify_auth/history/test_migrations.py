"""There, cut off on the way, and back: no event is lost, and none is counted twice."""

# ruff: noqa: S608  (constants of the app)

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError

from accounts.models import User
from spotify_auth import migration_operations
from spotify_auth.figures import roll_up
from spotify_auth.history import folding
from spotify_auth.history.tables import EVENTS, ROUTINE
from spotify_auth.models import HistoryMark
from tests.spotify_auth.figures.conftest import total
from tests.spotify_auth.history.conftest import Routine, fetch
from tests.support.database_faults import locked_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _migrated_again(transactional_db: None) -> Iterator[None]:
    """Leave the database as the other tests want it."""
    yield
    call_command("migrate", verbosity=0)
    HistoryMark.objects.all().delete()


def test_a_migration_that_was_cut_off_goes_on_where_it_was(
    user: User, routine: Routine, monkeypatch: pytest.MonkeyPatch
) -> None:
    routine(2, timedelta(hours=8))
    routine(3, timedelta(hours=7))
    roll_up.roll_up()
    folding.fold_some()
    routine(4, timedelta(hours=1))

    call_command("migrate", "spotify_auth", "0025", verbosity=0)

    generations = [(1, 3), (3, 4)]
    read = f"SELECT generation_before, generation_after FROM {EVENTS} ORDER BY id"
    assert fetch(read) == generations
    monkeypatch.setattr(migration_operations, "TURNS_SECONDS", (1,))
    with (
        locked_elsewhere("LOCK TABLE accounts_user IN ROW EXCLUSIVE MODE"),
        pytest.raises(OperationalError, match="lock timeout"),
    ):
        call_command("migrate", "spotify_auth", verbosity=0)

    call_command("migrate", "spotify_auth", verbosity=0)

    assert fetch(read) == generations
    assert fetch(f"SELECT count(*) FROM {ROUTINE}") == [(0,)]
    roll_up.roll_up()
    assert total() == 3
