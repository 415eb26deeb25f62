"""Lanes and the sweep, with a real broker and without a worker."""

from collections.abc import Callable, Iterator
from threading import Event

import pytest
import redis
from celery import Celery
from django.conf import settings as live_settings
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from spotify_auth import cooldown
from spotify_auth.cooldown import Admission
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from spotify_auth.refresh import claims, lanes, refresher, transaction
from tests.support.answers import after_the_answer
from tests.support.database_faults import commit_unacknowledged, cut_the_connection
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_lane_a_token(settings: Settings) -> None:
    """Sweeps so frequent that each due token needs a lane of its own."""
    settings.REFRESH_SWEEP_SECONDS = 0.1


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    with redis.Redis.from_url(live_settings.REDIS_URL) as broker:
        broker.delete(lanes.QUEUE)
        yield
        broker.delete(lanes.QUEUE)


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


def test_opens_as_many_lanes_as_the_measured_latency_needs(
    connect: Connect, settings: Settings, spotify: Sandbox
) -> None:
    settings.REFRESH_SWEEP_SECONDS = 10
    users = [connect(f"user-{n}") for n in range(12)]

    def record(duration_ms: int) -> None:
        TokenEvent.objects.bulk_create(
            TokenEvent(user=users[0], cause="schedule", outcome="retry", duration_ms=duration_ms)
            for _ in range(lanes.MEASURED)
        )

    with redis.Redis.from_url(live_settings.REDIS_URL) as broker:
        opened = []
        for duration_ms in (5, 2000, 20_000):
            record(duration_ms)
            opened.append(lanes.open_lanes())
            broker.delete(lanes.QUEUE)

    assert opened == [1, 5, 12]


def test_lanes_that_wait_in_the_queue_count(connect: Connect) -> None:
    for n in range(3):
        connect(f"user-{n}")
    lanes.open_lanes()

    # Another beat, or the same one for a day while no worker runs.
    assert [lanes.open_lanes() for _ in range(5)] == [0] * 5


@pytest.mark.django_db(transaction=True)
def test_lanes_that_run_count(
    connect: Connect, elsewhere: Elsewhere, spotify: Sandbox, settings: Settings
) -> None:
    for n in range(5):
        connect(f"user-{n}")
    spotify.faults("hold", times=2)
    running = [elsewhere(refresher.refresh_next) for _ in range(2)]
    wait_for(lambda: spotify.stats()["held"] == 2, what="two exchanges")

    opened = []
    for settings.REFRESH_LANES in (2, 3):
        opened.append(lanes.open_lanes())

    spotify.release()
    assert [lane.result() for lane in running] == [Outcome.REFRESHED] * 2
    assert opened == [0, 1]
    # Now that they have ended: three are due, and one lane waits.
    assert lanes.open_lanes() == 2


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_has_had_its_turn_enqueues_another(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        connect(f"user-{n}")
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.0)

    with CaptureQueriesContext(database) as captured:
        assert lanes.run_lane() == 1

    with redis.Redis.from_url(live_settings.REDIS_URL) as broker:
        assert broker.llen(lanes.QUEUE) == 1
    # It has claimed nothing that it must give back: that would be late by a second.
    assert not any("ROLLBACK" in query["sql"] for query in captured)


def test_without_a_broker_a_lane_goes_on(
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

    assert "lane_goes_on reason=" in caplog.text


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
    monkeypatch.setattr(lanes, "stopping", Event())

    lanes.stop_lanes()

    assert lanes.run_lane() == 0


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_stops_gives_back_what_it_claimed_ahead(
    connect: Connect, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        connect(f"user-{n}")
    monkeypatch.setattr(lanes, "stopping", Event())
    after_the_answer(monkeypatch, lanes.stop_lanes)
    assert lanes.run_lane() == 1

    assert elsewhere(refresher.refresh_next).result() is Outcome.REFRESHED


def before_the_second_claim(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Admission]) -> None:
    """Let something happen once, when a lane has its next claim and has not begun with it."""
    admissions = iter((lambda: Admission.GO, act))
    monkeypatch.setattr(cooldown, "admit", lambda: next(admissions, lambda: Admission.GO)())


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_must_pause_gives_back_what_it_claimed_ahead(
    connect: Connect, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        connect(f"user-{n}")
    before_the_second_claim(monkeypatch, lambda: Admission.PAUSED)

    assert lanes.run_lane() == 1

    assert elsewhere(refresher.refresh_next).result() is Outcome.REFRESHED


@pytest.mark.django_db(transaction=True)
def test_a_lane_that_was_held_up_does_not_trust_its_claim(
    connect: Connect, elsewhere: Elsewhere, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        connect(f"user-{n}")

    def lose_the_lock() -> Admission:
        cut_the_connection()
        assert elsewhere(refresher.refresh_next).result() is Outcome.REFRESHED
        return Admission.GO

    before_the_second_claim(monkeypatch, lose_the_lock)
    monkeypatch.setattr(transaction, "AHEAD_SECONDS", 0.0)

    assert lanes.run_lane() == 1

    totals = spotify.stats()["totals"]
    assert (totals["refreshes"], totals["reuses_of_dead_token"]) == (2, 0)


@pytest.mark.django_db(transaction=True)
def test_nor_within_the_second_in_which_a_claim_is_believed(
    connect: Connect, elsewhere: Elsewhere, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [connect(f"user-{n}") for n in range(2)]

    def lose_the_lock() -> Admission:
        cut_the_connection()
        # A whole lane, which has cleared up after itself.
        assert elsewhere(lanes.run_lane).result() == 1
        return Admission.GO

    before_the_second_claim(monkeypatch, lose_the_lock)

    assert lanes.run_lane() == 1

    assert [token_of(user).generation for user in users] == [2, 2]
    totals = spotify.stats()["totals"]
    assert (totals["refreshes"], totals["reuses_of_dead_token"]) == (2, 0)


@pytest.mark.django_db(transaction=True)
def test_a_claim_ahead_that_fails_costs_its_lane_and_nothing_else(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [connect(f"user-{n}") for n in range(2)]
    statements = iter(
        (claims.next_statement(), ("SELECT pg_terminate_backend(pg_backend_pid())", {}))
    )
    with monkeypatch.context() as patch:
        patch.setattr(claims, "next_statement", lambda: next(statements))
        assert lanes.run_lane() == 0

    assert SpotifyToken.objects.filter(generation=2).count() == 1
    assert lanes.run_lane() == 1
    assert [token_of(user).generation for user in users] == [2, 2]
    totals = spotify.stats()["totals"]
    assert (totals["refreshes"], totals["reuses_of_dead_token"]) == (2, 0)


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
