"""What an operator asks first: right, without the history, and from small indexes."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection as database
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import cooldown, housekeeping
from spotify_auth.figures import counts, roll_up, samples, statuses, summary
from spotify_auth.figures.tables import EventCount, FreshnessSample
from spotify_auth.figures.traffic import IN_FLIGHT, MASS_REFUSAL
from spotify_auth.models import Chore, SpotifyToken
from tests.spotify_auth.figures.conftest import Happen
from tests.support.tokens import Connect, change

pytestmark = pytest.mark.django_db


@pytest.fixture
def in_redis(no_cooldown: None) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        yield client


def test_an_empty_service(no_cooldown: None) -> None:
    Chore.objects.all().delete()  # that processes of an earlier test have done

    found = summary.look()

    assert (found.freshness.connected, found.awake, found.fresh_share) == (0, 0, 1.0)
    assert (found.by_status, found.totals) == ({}, {})
    assert (found.sweep_age, found.counted_age, found.freshness.worst_left) == (None, None, None)


def test_tokens_by_status(connect: Connect) -> None:
    active, asleep, ended, disconnected = (connect(f"user-{n}", due=False) for n in range(4))
    change(asleep, due_at=Now() + timedelta(days=90))
    change(ended, status="reconnect_required")
    change(disconnected, status="disconnected", access_token=None, refresh_token=None)

    statuses.count()
    first = statuses.by_status()
    active.delete()
    ended.delete()
    statuses.count()

    assert first == {
        **dict.fromkeys(SpotifyToken.Status.values, 0),
        "active": 2,
        "sleeping": 1,
        "reconnect_required": 1,
        "disconnected": 1,
    }
    assert statuses.by_status() == {**first, "active": 1, "reconnect_required": 0}
    assert summary.look().awake == 0


def test_what_redis_knows(in_redis: redis.Redis) -> None:
    cooldown.start(cooldown.Reason.CLIENT_REFUSED, seconds=600)
    now = in_redis.time()[0] * 1000
    in_redis.zadd(IN_FLIGHT, {"asking": now + 600_000, "killed": now - 1})
    in_redis.set(MASS_REFUSAL, 1, ex=60)

    found = summary.look().traffic

    assert found is not None
    assert (found.lanes, found.cooldown, found.mass_refusal) == (1, "client_refused", True)
    assert 540 < found.cooldown_left <= 600


def test_goes_on_without_redis(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    assert summary.look().traffic is None
    assert "traffic_unknown" in caplog.text


def test_minutes_and_percentiles(happen: Happen) -> None:
    for milliseconds in [*[90] * 98, 700, 30_000]:
        happen(duration_ms=milliseconds, rotated=True)
    happen("suspected", at=Now() - timedelta(minutes=70), duration_ms=9000)
    roll_up.roll_up()

    minutes = counts.since(timedelta(hours=2))
    last_hour = counts.latency_since(timedelta(hours=1))

    assert {(each.outcome, each.events, each.rotated) for each in minutes} == {
        ("refreshed", 100, 100),
        ("suspected", 1, 0),
    }
    assert sum(each.events for each in counts.since(timedelta(hours=1))) == 100
    assert last_hour.median == pytest.approx(0.05 + 0.05 * 50 / 98)
    assert last_hour.p95 == pytest.approx(0.05 + 0.05 * 95 / 98)
    assert last_hour.p99 == pytest.approx(0.75)
    assert counts.latency_since(timedelta(0)).median is None


@pytest.mark.parametrize(
    "ask",
    [
        summary.look,
        lambda: counts.since(timedelta(hours=6)),
        lambda: counts.latency_since(timedelta(hours=1)),
        statuses.count,
        samples.take_sample,
    ],
)
def test_nothing_reads_the_history_or_all_tokens(ask: Callable[[], object]) -> None:
    """Whatever their size: so a test of the plans says what one with a million rows would."""
    with CaptureQueriesContext(database) as asked:
        ask()
    plans = []
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement in (each["sql"] for each in asked if "spotify_auth" in each["sql"]):
            cursor.execute(f"EXPLAIN {statement}")
            plans += [line for (line,) in cursor.fetchall()]

    assert plans
    assert "tokenevent" not in "".join(plans)
    assert "Seq Scan on spotify_auth_spotifytoken" not in "".join(plans)


def test_old_minutes_and_samples_are_deleted_and_hours_are_kept(happen: Happen) -> None:
    happen()
    roll_up.roll_up()
    EventCount.objects.exclude(span="ever").update(begins_at=Now() - timedelta(days=8))
    samples.take_sample()
    FreshnessSample.objects.update(at=Now() - timedelta(days=33))
    samples.take_sample()

    assert housekeeping.delete_expired()

    assert sorted(EventCount.objects.values_list("span", flat=True)) == ["ever", "hour"]
    assert FreshnessSample.objects.count() == 0
