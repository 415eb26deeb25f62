"""The doctor asks for queues, workers and beats, sweeps, pauses and fresh tokens."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection
from django.db.models.functions import Now
from pytest_django import Settings

from config.celery import app
from dev.process import free_port
from spotify_auth import chores, cooldown
from spotify_auth.cooldown import Reason
from spotify_auth.doctor import background
from spotify_auth.models import Presence, ServicePause, SpotifyToken
from spotify_auth.presence import Sign
from tests.support.celery_apps import another_app
from tests.support.claims import begin
from tests.support.doctor import diagnose
from tests.support.paces import plant
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker(no_cooldown: None) -> Iterator[redis.Redis]:
    """Our broker, with two tasks in the queue of sweeps and nobody who takes them."""
    app.set_default()  # pytest-celery has made another one the default for threads
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        client.delete("keeper", "lanes")
        app.send_task("spotify_auth.sweep")
        app.send_task("spotify_auth.sweep")
        yield client
        client.delete("keeper", "lanes")


def test_queues_that_no_worker_reads(broker: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TAKEN_WITHIN", 0.2)

    assert diagnose("queues").bad == [
        ("problem", "In the queue keeper wait 2, and none was taken in 0.2 s."),
        ("problem", "No worker reads the queue lanes, in which 0 wait."),
    ]


def test_queues_whose_workers_are_busy(
    broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "TAKEN_WITHIN", 0.2)
    Sign(Presence.Kind.WORKER, lanes_allowed=8).show(lanes_running=8)

    ((level, words),) = diagnose("queues").bad

    assert level == "warning"
    assert words.endswith("All threads of the workers are busy.")


def test_lanes_in_the_queue_of_all_other_tasks(broker: redis.Redis) -> None:
    broker.delete("keeper")
    Sign(Presence.Kind.WORKER, lanes_allowed=8).show()
    assert diagnose("queues").bad == []
    with another_app(task_routes=None):
        ((level, words),) = diagnose("queues").bad

    assert level == "warning"
    assert words.startswith("Lanes wait in the queue keeper, with ")


def test_no_worker_no_beat_and_no_sweep() -> None:
    said = diagnose("workers", "sweep")

    assert said.code == 1
    assert said.bad == [
        ("problem", "No worker is there: no token is refreshed."),
        ("warning", "No beat is there. Workers sweep by themselves."),
        ("problem", "There was no sweep yet: start a worker and a beat."),
    ]


def test_workers_of_another_version_and_one_that_was_killed() -> None:
    for kind in Presence.Kind:
        Sign(kind).show()
    Sign(Presence.Kind.WORKER).show()
    chores.take(chores.SWEEP, every=timedelta(0))
    assert diagnose("workers", "sweep").bad == []
    last = Presence.objects.latest("started_at")
    Presence.objects.exclude(pk=last.pk).update(version="0.0.9")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE spotify_auth_presence SET seen_at = seen_at - interval '9 min' WHERE id = %s",
            [last.pk],
        )

    killed, older = diagnose("workers").bad

    seen = re.search(r"was last seen (\d+) s ago\.$", killed[1])
    assert seen
    assert 540 <= int(seen[1]) < 600
    assert older[1].endswith("and others run 0.0.9.")


def test_a_pause_of_all_refreshing(no_cooldown: None) -> None:
    assert diagnose("pause").bad == []
    cooldown.start(Reason.RATE_LIMITED, seconds=100)
    ServicePause.objects.create(since=Now(), by="Ada", reason="Spotify is moving.")

    ordered, paused, not_asked = diagnose("pause", "credentials").bad

    assert ordered[1].startswith("Ada has paused all refreshing on ")
    assert ordered[1].endswith(" UTC: Spotify is moving.")
    assert paused[1].startswith("All refreshing pauses: rate_limited, for ")
    assert not_asked[1].endswith("so it was not asked.")


def test_a_redis_that_does_not_say_whether_anything_pauses(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    ((level, words),) = diagnose("pause").bad

    assert level == "warning"
    assert words.startswith("Whether a cool-down pauses all refreshing is not known")


def test_a_pace_below_the_need(connect: Connect, no_cooldown: None, settings: Settings) -> None:
    settings.ACCESS_TOKEN_LIFETIME_SECONDS = 10
    for n in range(9):
        connect(f"user-{n}")
    plant(0.9)
    assert diagnose("pause").bad == []  # no token waits for its turn

    for _ in range(4):  # on a slow machine one or two of them get a permit
        begin()

    (slow,) = diagnose("pause").bad
    assert slow[1] == "Spotify allows 0.9 refreshes a second, and 9 users need 1.2."


def test_users_without_a_fresh_token(connect: Connect) -> None:
    for persona in ("user-1", "user-2"):
        connect(persona)
    assert diagnose("freshness").bad == []
    SpotifyToken.objects.update(expires_at=Now(), due_at=Now())

    said = diagnose("freshness")

    assert said.code == 1
    assert said.bad[0][1].startswith("2 of 2 connected users have no fresh token")
