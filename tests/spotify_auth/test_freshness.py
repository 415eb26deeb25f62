"""The figures that say whether anybody is about to lose access."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from spotify_auth import chores, freshness
from spotify_auth.models import Chore
from tests.support.many import fill
from tests.support.tokens import Connect, ago, change, make_due

pytestmark = pytest.mark.django_db


def test_nobody_is_connected() -> None:
    found = freshness.measure()

    assert (found.connected, found.stale, found.overdue, found.oldest_overdue) == (0, 0, 0, 0)


def test_all_is_well(connect: Connect) -> None:
    for number in range(3):
        connect(f"user-{number}", due=False)

    found = freshness.measure()

    assert (found.connected, found.stale, found.overdue, found.oldest_overdue) == (3, 0, 0, 0)


def test_each_kind_of_trouble_is_counted_once(connect: Connect) -> None:
    _well, due, expired, failing, suspected, asleep, gone = (
        connect(f"user-{number}", due=False) for number in range(7)
    )
    make_due(due)
    change(due, expires_at=Now() + timedelta(seconds=600))
    make_due(expired, expired=True)
    change(failing, failures=2, last_error="http_503", expires_at=ago(5))
    change(suspected, failures=2, suspected_at=ago(60), expires_at=ago(30))
    change(asleep, due_at=Now() + timedelta(days=100), expires_at=ago(3600))
    change(gone, status="reconnect_required", last_error="invalid_grant", expires_at=ago(9999))

    found = freshness.measure()

    assert found.connected == 6  # the one who must reconnect is not
    assert (found.stale, found.refused, found.unexplained) == (3, 1, 2)
    assert found.overdue == 2
    assert 59 <= found.oldest_overdue < 65


def test_who_is_about_to_lose_access(connect: Connect) -> None:
    """Whoever is refreshed in time is not, though their token has less than 15 minutes left."""
    well, due, late, failing, failed, refused, asleep = (
        connect(f"user-{number}", due=False) for number in range(7)
    )
    soon = Now() + timedelta(seconds=700)
    change(well, due_at=Now() + timedelta(seconds=50), expires_at=soon)
    change(due, due_at=ago(5), expires_at=soon)
    change(late, due_at=ago(40), expires_at=soon)
    change(failing, failures=3, due_at=Now() + timedelta(seconds=60), expires_at=soon)
    change(failed, failures=2, due_at=Now() + timedelta(seconds=4), expires_at=soon)
    change(refused, failures=1, suspected_at=ago(60), expires_at=ago(90))
    change(asleep, due_at=Now() + timedelta(days=90), expires_at=ago(5000))

    found = freshness.measure()

    assert (found.expiring, found.suspected, found.backing_off) == (2, 1, 3)
    assert found.worst_left == pytest.approx(700, abs=2)
    assert found.worst_refused_left == pytest.approx(-90, abs=2)


def test_the_worst_of_healthy_tokens(connect: Connect) -> None:
    well, next_one = connect("user-1", due=False), connect("user-2", due=False)
    change(well, due_at=Now() + timedelta(seconds=2000), expires_at=Now() + timedelta(seconds=3000))
    change(next_one, due_at=Now() + timedelta(seconds=9), expires_at=Now() + timedelta(seconds=800))

    assert freshness.measure().worst_left == pytest.approx(800, abs=2)


def test_the_worst_is_not_a_token_that_spotify_refused(connect: Connect) -> None:
    """Not while its access token lives on, either."""
    well, refused = connect("user-1", due=False), connect("user-2", due=False)
    change(well, due_at=Now() + timedelta(seconds=700), expires_at=Now() + timedelta(seconds=900))
    next_attempt = Now() + timedelta(seconds=60)
    change(refused, failures=1, suspected_at=ago(9), due_at=next_attempt)
    change(refused, expires_at=Now() + timedelta(seconds=300))

    found = freshness.measure()

    assert found.worst_left == pytest.approx(900, abs=2)
    assert found.worst_refused_left == pytest.approx(300, abs=2)


def test_figures_come_from_the_small_indexes() -> None:
    fill(2000)
    with database.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN {freshness._MEASURE}",
            {
                "looked_at": 100,
                "counted": 100,
                "needed": 10,
                "next_ones": 100,
                "soon": 900,
                "routine": 2,
                "late": 30,
            },
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "token_struggling" in plan
    assert "token_due" in plan


@pytest.mark.parametrize(
    ("swept", "running"),
    [(None, False), (29.0, True), (31.0, False), (-86_400.0, False)],
)
def test_renewal_runs_while_sweeps_come(swept: float | None, running: bool) -> None:
    """A time ahead was written before PostgreSQL's clock was set back."""
    if swept is not None:
        Chore.objects.create(name=chores.OWN_SWEEP, done_at=ago(swept))

    assert freshness.renewal_is_running() is running
