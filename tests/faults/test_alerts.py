"""The alert rules against real faults: a worker, a beat and a sandbox Spotify, scraped meanwhile.

What `/metrics` says is asked several times a second and played to promtool as though it had been
scraped every 30 s: the rules' windows of minutes pass in seconds, the figures are real.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from spotify_auth import cooldown, pace
from spotify_auth.figures.traffic import MASS_REFUSAL
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.alerts import Scenario, Scrapes, play
from tests.support.fault_stack import Stack, started_stack
from tests.support.processes import wait_for
from tests.support.tokens import ago, connect_users

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("alerts")]

USERS = 30
SWEEP_SECONDS = 1.0
SETTINGS = {
    "ACCESS_TOKEN_LIFETIME_SECONDS": "600",
    "REFRESH_SWEEP_SECONDS": str(SWEEP_SECONDS),
    "TOKEN_ENDPOINT_DEADLINE_SECONDS": "12",
    "REFRESH_LANES": "8",
}
QUIET, STRUCK = 2, 8
"""Scrapes before a fault and in it."""
EVERY_SECONDS = 0.2

Fault = Callable[[Stack], AbstractContextManager[None]]


@pytest.fixture
def stack(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Stack]:
    with (
        django_db_blocker.unblock(),
        started_stack(lifetime=600, settings=SETTINGS) as running,
        override_settings(REFRESH_SWEEP_SECONDS=SWEEP_SECONDS),
    ):
        connect_users(running.sandbox, USERS)
        yield running


def recovered(stack: Stack) -> None:
    """As though the last fault had never been."""
    stack.sandbox.clear()
    before = TokenEvent.objects.latest("id").pk  # first: a lane may be faster than this test
    SpotifyToken.objects.update(due_at=ago(1), failures=0, suspected_at=None, last_error="")
    refreshed = TokenEvent.objects.filter(outcome=Outcome.REFRESHED, pk__gt=before)

    def all_are_refreshed() -> bool:
        well = refreshed.values("user").distinct().count() == USERS
        _forget_in_redis()  # a refusal, or a pause, may have been in flight when the fault ended
        return well

    wait_for(all_are_refreshed, what="everybody to be refreshed", seconds=150)


def _forget_in_redis() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*cooldown.KEYS, MASS_REFUSAL)
    pace.forget()  # a limit that a few users taught would hold up all that follows


@contextmanager
def no_redis(stack: Stack) -> Iterator[None]:
    stack.redis.kill()
    yield
    stack.redis.start()
    wait_for(_redis_answers, what="Redis")


def _redis_answers() -> bool:
    try:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def no_worker_and_no_beat(stack: Stack) -> Iterator[None]:
    stack.worker.kill()
    stack.beat.kill()
    time.sleep(4 * SWEEP_SECONDS)
    yield


def spotify(name: str, **parameters: object) -> Fault:
    """A fault of the sandbox's, for as long as the scrapes take."""

    @contextmanager
    def strikes(stack: Stack) -> Iterator[None]:
        stack.sandbox.faults(name, **parameters)
        yield

    return strikes


FAULTS: list[tuple[str, Fault, str]] = [
    ("half of the answers are 503", spotify("unavailable", share=0.5), "SpotifyExchangesFail"),
    ("half are refused", spotify("false_invalid_grant", share=0.5), "SpotifyMassRefusal"),
    ("the client secret is wrong", spotify("invalid_client"), "SpotifyClientRefused"),
    ("the lanes are too slow", spotify("latency", seconds=0.8), "SpotifyBacklog"),
    ("Redis is away", no_redis, "SpotifyRedisAway"),
    ("workers and beat are gone", no_worker_and_no_beat, "SpotifyRenewalStopped"),
]


def test_each_fault_fires_its_own_alert(stack: Stack, tmp_path: Path) -> None:
    recovered(stack)
    quiet = Scrapes(every_seconds=EVERY_SECONDS)
    quiet.take(STRUCK, due_since=1)
    scenarios = [Scenario(name="nothing is wrong", series=quiet.series)]

    for name, strikes, alert in FAULTS:
        recovered(stack)
        scraped = Scrapes(every_seconds=EVERY_SECONDS)
        scraped.take(QUIET, due_since=1)
        with strikes(stack):
            scraped.take(STRUCK, due_since=400 if alert == "SpotifyBacklog" else 1)
        scenarios.append(Scenario(name=name, series=scraped.series, fires=alert))

    play(scenarios, directory=tmp_path)
