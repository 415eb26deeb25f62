"""A worker sweeps by itself once beat's sweeps stay away, and says so once."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.conf import settings as live_settings
from django.db import close_old_connections, transaction
from django.db import connection as database
from django.db.models.functions import Now
from pytest_django import Settings

from config.celery import app
from spotify_auth import chores, freshness, queues, tasks, time_limit  # noqa: F401  (registers the chores)
from spotify_auth.lost_servers import LOST
from spotify_auth.models import Chore
from spotify_auth.refresh import sweep_watch
from spotify_auth.refresh.sweep_watch import SweepWatch
from tests.support.processes import wait_for
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _frequent_sweeps(settings: Settings) -> None:
    settings.REFRESH_SWEEP_SECONDS = 0.1


@pytest.fixture(autouse=True)
def waiting() -> Iterator[redis.Redis]:
    """The broker, with empty queues."""
    with redis.Redis.from_url(live_settings.REDIS_URL) as broker:
        broker.delete("lanes", "keeper")
        yield broker
        broker.delete("lanes", "keeper")


def test_opens_lanes_and_enqueues_chores_when_no_sweep_comes(
    connect: Connect,
    waiting: redis.Redis,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect()
    watch = SweepWatch()

    settings.REFRESH_SWEEP_SECONDS = 10.0
    assert not watch.look()  # not yet
    settings.REFRESH_SWEEP_SECONDS = 0.1
    wait_for(watch.look, what="a sweep")
    wait_for(watch.look, what="another one")

    assert waiting.llen("lanes") == 1
    assert waiting.llen("keeper") > 0
    missed = [line for line in caplog.messages if line.startswith("sweep_missed")]
    assert len(missed) == 1


def test_sweeps_of_beat_keep_it_quiet(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    watch = SweepWatch()

    for _ in range(3):
        sweep_watch.sweep()
        watch._seen_at -= 100
        assert not watch.look()

    assert "sweep_missed" not in caplog.text


@pytest.mark.parametrize(("silence", "sweeps"), [(29.0, False), (31.0, True)])
def test_waits_for_three_intervals(settings: Settings, silence: float, sweeps: bool) -> None:
    """A beat that is restarted, or a sweep that comes late, is nothing to talk about."""
    settings.REFRESH_SWEEP_SECONDS = 10.0
    watch = SweepWatch()
    watch.look()

    watch._seen_at -= silence

    assert watch.look() is sweeps


def test_of_several_workers_one_sweeps_in_an_interval(connect: Connect, settings: Settings) -> None:
    watches = [SweepWatch() for _ in range(3)]
    wait_for(lambda: sum(watch.look() for watch in watches), what="a sweep")
    settings.REFRESH_SWEEP_SECONDS = 10.0
    for watch in watches:
        watch._seen_at -= 100

    assert [watch.look() for watch in watches] == [False] * 3


def test_says_when_beat_is_back(caplog: pytest.LogCaptureFixture) -> None:
    watch = SweepWatch()
    wait_for(watch.look, what="a sweep")

    sweep_watch.sweep()

    assert not watch.look()
    assert caplog.messages[-1] == "sweep_seen"
    assert Chore.objects.get(name=chores.SWEEP).times == 1


def test_sweeps_that_fail_are_one_line(
    connect: Connect,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lost_broker: object,
) -> None:
    connect()
    with monkeypatch.context() as patch:
        patch.setattr(queues, "current_app", lost_broker)
        for _ in range(3):
            sweep_watch.sweep()

    sweep_watch.sweep()

    lines = [line for line in caplog.messages if line.startswith("sweep_")]
    assert [line.split()[0] for line in lines] == ["sweep_failed", "sweep_works"]


def test_a_sweep_that_fails_is_no_sign_that_tokens_are_renewed(
    connect: Connect, settings: Settings, monkeypatch: pytest.MonkeyPatch, lost_broker: object
) -> None:
    connect()
    watch = SweepWatch()
    wait_for(watch.look, what="a sweep")
    Chore.objects.update(done_at=Now() - timedelta(seconds=60))

    with monkeypatch.context() as patch:
        patch.setattr(queues, "current_app", lost_broker)
        sweep_watch.sweep()
        with pytest.raises(LOST):
            wait_for(watch.look, what="a sweep of its own")
    age = freshness.sweep_age()

    assert age
    assert age > 50
    sweep_watch.sweep()
    settings.REFRESH_SWEEP_SECONDS = 10.0
    assert freshness.renewal_is_running()


def test_a_sweep_leaves_a_server_that_takes_no_changes(caplog: pytest.LogCaptureFixture) -> None:
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")  # a primary that was demoted
    sweep_watch.sweep()
    assert caplog.messages == ["sweep_failed reason=InternalError"]

    close_old_connections()  # the next task of this thread begins
    sweep_watch.sweep()

    assert caplog.messages[1:] == ["sweep_works"]


@pytest.mark.parametrize(
    "table", ["spotify_auth_freshnesssample", "spotify_auth_announcedpause", "spotify_auth_notice"]
)
def test_a_table_of_the_figures_or_notices_that_is_locked_keeps_no_sweep_from_lanes(
    table: str,
    connect: Connect,
    waiting: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a limit each sweep would hold a thread of the workers for as long as the lock."""
    connect()
    app.set_default()  # pytest-celery has made another one the default for threads
    monkeypatch.setattr(time_limit, "STATEMENT_SECONDS", 0.2)
    monkeypatch.setattr(sweep_watch, "_failures", sweep_watch._Failures())
    sweeping = threading.Thread(target=_sweep_in_a_thread)
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table}")
        sweeping.start()
        sweeping.join(30)
        ended = not sweeping.is_alive()
    sweeping.join()

    assert ended
    assert waiting.llen("lanes") == 1


def _sweep_in_a_thread() -> None:
    try:
        sweep_watch.sweep()
    finally:
        database.close()
