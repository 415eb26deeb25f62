"""Lanes and the sweep, with a real broker and without a worker."""

from collections.abc import Iterator
from typing import cast

import pytest
import redis
from celery import Celery
from django.conf import settings as live_settings
from django.db import connection as database
from kombu.transport.virtual import Channel
from pytest_django import Settings

from spotify_auth.celery_settings import LANE
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresh import lanes
from spotify_auth.refresh.process import process
from tests.support.answers import after_the_answer, after_the_claim
from tests.support.celery_apps import another_app
from tests.support.database_faults import commit_unacknowledged, cut_the_connection
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_lane_a_token(settings: Settings) -> None:
    """Sweeps so frequent that each due token needs a lane of its own."""
    settings.REFRESH_SWEEP_SECONDS = 0.1


@pytest.fixture(autouse=True)
def _a_process_that_goes_on() -> Iterator[None]:
    yield
    process.reset()


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    with redis.Redis.from_url(live_settings.REDIS_URL) as broker:
        broker.delete("lanes")
        yield
        broker.delete("lanes")


def test_nothing_due_opens_no_lane(connect: Connect) -> None:
    connect(due=False)

    assert lanes.open_lanes() == 0


def test_opens_a_lane_for_each_due_token(connect: Connect) -> None:
    for n in range(3):
        connect(f"user-{n}")

    assert lanes.open_lanes() == 3


def test_opens_no_more_lanes_than_allowed(connect: Connect, settings: Settings) -> None:
    settings.REFRESH_LANES = 2
    for n in range(5):
        connect(f"user-{n}")

    assert lanes.open_lanes() == 2


def test_few_due_tokens_open_few_lanes(connect: Connect, settings: Settings) -> None:
    settings.REFRESH_SWEEP_SECONDS = 10
    for n in range(12):
        connect(f"user-{n}")

    assert lanes.open_lanes() == 3  # each exchange is assumed to take a second


def test_lanes_that_wait_in_the_queue_count(connect: Connect) -> None:
    for n in range(3):
        connect(f"user-{n}")
    lanes.open_lanes()

    # Another beat, or the same one for a day while no worker runs.
    assert [lanes.open_lanes() for _ in range(5)] == [0] * 5


def emptied(app: Celery, queue: str) -> int:
    """Take all messages from a queue; how many they were."""
    with app.connection_for_write() as broker:
        return cast(Channel, broker.default_channel).queue_purge(queue) or 0


def test_lanes_are_counted_in_the_queue_that_the_route_names(connect: Connect) -> None:
    for n in range(3):
        connect(f"user-{n}")
    with another_app(task_routes={LANE: "tokens"}) as app:
        assert [lanes.open_lanes(), lanes.open_lanes()] == [3, 0]
        waited = emptied(app, "tokens")

    assert waited == 3


def test_a_long_queue_of_other_tasks_does_not_end_refreshing(connect: Connect) -> None:
    for n in range(3):
        connect(f"user-{n}")
    with another_app(task_routes=None, task_default_queue="all") as app:
        for _ in range(4):
            app.send_task("music.tidy")
        assert [lanes.open_lanes() for _ in range(3)] == [1] * 3
        waited = emptied(app, "all")

    assert waited == 7


@pytest.mark.django_db(transaction=True)
def test_more_lanes_than_allowed_end_at_once(
    connect: Connect, elsewhere: Elsewhere, spotify: Sandbox, settings: Settings
) -> None:
    """As after two sweeps at the same moment, or when a worker comes back to a full queue."""
    settings.REFRESH_LANES = 2
    users = [connect(f"user-{n}") for n in range(5)]
    spotify.faults("hold", times=2)
    running = [elsewhere(lanes.run_lane) for _ in range(2)]
    wait_for(lambda: spotify.stats()["held"] == 2, what="two exchanges")

    assert [elsewhere(lanes.run_lane).result() for _ in range(3)] == [0] * 3

    spotify.release()
    assert sum(lane.result() for lane in running) == 5  # type: ignore[misc]
    assert [token_of(user).generation for user in users] == [2] * 5


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_has_had_its_turn_enqueues_another(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        connect(f"user-{n}")
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.0)

    assert lanes.run_lane() == 1

    with redis.Redis.from_url(live_settings.REDIS_URL) as broker:
        assert broker.llen("lanes") == 1


def test_without_a_broker_a_lane_takes_another_turn(
    connect: Connect,
    lost_broker: Celery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for n in range(3):
        connect(f"user-{n}")
    monkeypatch.setattr(lanes, "current_app", lost_broker)
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.0)

    assert lanes.run_lane() == 3

    assert "lane_extended reason=" in caplog.text


def test_a_lane_drains_what_is_due(connect: Connect, spotify: Sandbox) -> None:
    for n in range(5):
        connect(f"user-{n}")
    connect("user-9", due=False)

    assert lanes.run_lane() == 5

    assert spotify.stats()["totals"]["refreshes"] == 5
    assert SpotifyToken.objects.filter(generation=2).count() == 5


def test_a_stopping_worker_claims_no_more(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    lanes.stop_lanes()

    assert lanes.run_lane() == 0


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_stops_finishes_the_exchange_in_hand(
    connect: Connect, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        connect(f"user-{n}")
    after_the_answer(monkeypatch, lanes.stop_lanes)

    assert lanes.run_lane() == 1

    assert elsewhere(refresh_next).result() is Outcome.REFRESHED


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_lost_its_lock_before_its_mark_sends_nothing(
    connect: Connect, elsewhere: Elsewhere, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another lane has refreshed the token and cleaned up: no mark warns this one."""
    users = [connect(f"user-{n}") for n in range(2)]

    def lose_the_lock() -> None:
        cut_the_connection()
        assert elsewhere(lanes.run_lane).result() == 2

    after_the_claim(monkeypatch, lose_the_lock)

    assert lanes.run_lane() == 0

    assert [token_of(user).generation for user in users] == [2, 2]
    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["reuses_of_dead_token"]) == (2, 0)


@pytest.mark.django_db(transaction=True)
def test_a_thread_whose_server_became_a_standby_connects_anew(connect: Connect) -> None:
    """It refuses to write. A lane that kept the connection would fail until the worker ends."""
    connect()
    database.ensure_connection()
    standby = database.connection
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")

    assert lanes.run_lane() == 0
    assert lanes.run_lane() == 1

    assert database.connection is not standby


@pytest.mark.django_db(transaction=True)
def test_a_lane_whose_commit_is_not_acknowledged_repeats_nothing(
    connect: Connect, spotify: Sandbox
) -> None:
    users = [connect(f"user-{n}") for n in range(2)]
    with commit_unacknowledged():
        assert lanes.run_lane() == 0
    assert lanes.run_lane() == 1

    assert [token_of(user).generation for user in users] == [2, 2]
    totals = spotify.stats()["totals"]
    assert (totals["refreshes"], totals["reuses_of_dead_token"]) == (2, 0)
