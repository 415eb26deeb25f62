"""A pause of all refreshing, and its end, are each told of once, whoever notices."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from django.db import connection as database
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import cooldown
from spotify_auth.cooldown import Reason
from spotify_auth.models import AnnouncedPause, Notice
from spotify_auth.notices import pauses
from spotify_auth.refresh import sweep_watch
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.signals import Heard, names
from tests.support.tokens import Connect, make_due

pytestmark = pytest.mark.django_db(transaction=True)


def let_it_run_out(settings: Settings, *keys: str) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*keys)


def test_the_lane_that_begins_it_and_the_probe_that_ends_it_tell(
    connect: Connect, spotify: Sandbox, settings: Settings, heard: Heard
) -> None:
    connect("user-1")
    probe = connect("user-2", due=False)
    names(heard)
    spotify.faults("rate_limited", retry_after="60", times=1)

    refresh_next()
    assert heard[0][1]["reason"] == "rate_limited"
    assert names(heard) == ["service_paused"]

    let_it_run_out(settings, cooldown._PAUSE)
    make_due(probe)
    refresh_next()
    assert heard[-1][1]["reason"] == "rate_limited"
    assert names(heard) == ["token_refreshed", "service_resumed"]


def test_a_sweep_tells_of_what_nobody_saw_and_many_sweeps_tell_once(
    no_cooldown: None, settings: Settings, heard: Heard
) -> None:
    cooldown.start(Reason.UNAVAILABLE, seconds=60)  # and whoever did it was killed

    def look(_: int) -> None:
        try:
            pauses.look()
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(8)))
    assert names(heard) == ["service_paused"]

    let_it_run_out(settings, *cooldown.KEYS)  # nobody probed: it ends by itself
    sweep_watch._sweep()
    sweep_watch._sweep()
    assert names(heard) == ["service_resumed"]
    assert not AnnouncedPause.objects.exists()
    assert Notice.objects.count() == 2


def test_a_pause_that_begins_during_the_look_is_not_ended_by_it(
    no_cooldown: None, heard: Heard
) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        looked_at = cursor.fetchone()[0]
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pauses.look()

    pauses._end(looked_at)  # by a sweep that had asked Redis before

    assert names(heard) == ["service_paused"]


def test_without_redis_nothing_is_said(
    no_cooldown: None, settings: Settings, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    cooldown.start(Reason.UNAVAILABLE, seconds=60)
    pauses.look()
    names(heard)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    pauses.look()

    assert names(heard) == []
    assert "pause_not_announced reason=ConnectionError" in caplog.text
