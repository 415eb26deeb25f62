"""One line a minute of who had a fresh token, and what is left of the allowance."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from spotify_auth.figures import samples
from spotify_auth.figures.tables import FreshnessSample, StatusCount
from spotify_auth.models import Chore
from spotify_auth.refresh import sweep_watch
from tests.support.tokens import Connect, ago, change

pytestmark = pytest.mark.django_db


def sampled() -> FreshnessSample:
    """What a sample finds now."""
    Chore.objects.all().delete()
    assert samples.take_sample()
    return FreshnessSample.objects.latest("at")


def sampled_before(*, seconds: float, connected: int = 10, stale_seconds: float = 0) -> None:
    FreshnessSample.objects.create(
        at=ago(seconds),
        connected=connected,
        stale=0,
        refused=0,
        overdue=0,
        stale_seconds=stale_seconds,
    )


def test_one_sample_a_minute() -> None:
    assert samples.take_sample()
    assert not samples.take_sample()


def test_those_without_a_token_are_counted_since_they_have_none(connect: Connect) -> None:
    _well, expired, before, refused, asleep = (connect(f"user-{n}", due=False) for n in range(5))
    sampled_before(seconds=600)
    change(expired, due_at=ago(300), expires_at=ago(100))
    change(before, failures=3, expires_at=ago(5000))
    change(refused, failures=2, suspected_at=ago(60), expires_at=ago(300))
    change(asleep, due_at=Now() + timedelta(days=90), expires_at=ago(5000))
    StatusCount.objects.create(status="sleeping", tokens=1, counted_at=Now())

    found = sampled()

    assert (found.connected, found.stale, found.refused, found.overdue) == (4, 3, 1, 1)
    # 10 s of what is left do no reader any good (ACCESS_TOKEN_MINIMUM_SECONDS).
    assert found.stale_seconds == pytest.approx(110 + 600, abs=2)


def test_nobody_is_connected() -> None:
    found = sampled()

    assert (found.connected, found.stale, found.stale_seconds) == (0, 0, 0)


def test_the_allowance_is_ten_minutes_a_week() -> None:
    sampled_before(seconds=8 * 86_400, connected=1, stale_seconds=86_400)  # long forgotten
    sampled_before(seconds=6 * 86_400, connected=100, stale_seconds=100 * 120)
    sampled_before(seconds=60, connected=10, stale_seconds=5 * 60)
    sampled_before(seconds=30, connected=0)

    found = samples.budget()

    assert found.allowed == pytest.approx(10.08)
    assert found.used == pytest.approx(2.5)
    assert found.left == pytest.approx(7.58)


@pytest.mark.django_db(transaction=True)
def test_a_sweep_takes_samples_and_goes_on_without(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    sweep_watch.sweep()
    assert FreshnessSample.objects.count() == 1
    Chore.objects.all().delete()
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE spotify_auth_freshnesssample RENAME TO taken_away")
        try:
            sweep_watch.sweep()
        finally:
            cursor.execute("ALTER TABLE taken_away RENAME TO spotify_auth_freshnesssample")

    assert "freshness_not_sampled reason=ProgrammingError" in caplog.text
    assert "sweep_failed" not in caplog.text
    assert Chore.objects.filter(name="spotify_auth.sweep").exists()
