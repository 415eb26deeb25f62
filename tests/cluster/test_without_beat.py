"""What a real worker does when beat is not there, hangs, or is restarted again and again."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_celery import CeleryTestSetup

from spotify_auth.figures.roll_up import roll_up
from spotify_auth.models import Chore, TokenEvent
from tests.support.cluster import sessions
from tests.support.processes import beat_process, wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


HOUSE_KEEPING = "spotify_auth.house_keeping"


@pytest.fixture
def lifetime() -> int:
    """Longer than the test: nothing is refreshed but what the test asks for."""
    return 120


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    return 1, 0


def make_an_event_old() -> None:
    TokenEvent.objects.update(at=Now() - timedelta(days=401))


def test_without_any_beat_tokens_stay_fresh_and_the_house_is_kept(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    # Only what is counted is deleted, and house-keeping finds nothing to delete while another
    # thread of the worker counts: the next house-keeping is an hour away.
    wait_for(roll_up, what="the count")
    make_an_event_old()
    Chore.objects.update(done_at=None)
    make_due(user)

    wait_for(lambda: token_of(user).generation == 2, what="the refresh")
    wait_for(
        lambda: not TokenEvent.objects.filter(at__lt=Now() - timedelta(days=400)).exists(),
        what="house-keeping",
    )

    (worker,) = celery_setup.worker_cluster.nodes
    assert worker.logs().count("sweep_missed seconds=") == 1


def test_a_beat_that_is_restarted_all_the_time_gets_the_hourly_work_done(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, service_env: dict[str, str]
) -> None:
    beat = beat_process("restless", env=service_env)
    try:
        for _ in range(2):
            beat.restart()
            Chore.objects.filter(name=HOUSE_KEEPING).update(done_at=None)
            wait_for(
                Chore.objects.filter(name=HOUSE_KEEPING, done_at__isnull=False).exists,
                what="house-keeping",
            )
    finally:
        beat.teardown()


def test_a_beat_that_sends_nothing_is_made_up_for(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, service_env: dict[str, str]
) -> None:
    """As after its host's clock was set back: it lives, and waits for a time long past."""
    (user,) = connect_users(fast_sandbox, count=1)
    (worker,) = celery_setup.worker_cluster.nodes
    wait_for(lambda: "sweep_missed" in worker.logs(), what="the line of a worker without a beat")
    beat = beat_process("late", env=service_env)
    try:
        wait_for(lambda: "sweep_seen" in worker.logs(), what="beat's first sweep")
        beat.kill("SIGSTOP")
        missed = worker.logs().count("sweep_missed")  # beat may have come late by itself
        make_due(user)
        wait_for(lambda: token_of(user).generation == 2, what="the refresh")
        wait_for(lambda: worker.logs().count("sweep_missed") > missed, what="the line")
        beat.kill("SIGCONT")
    finally:
        beat.teardown()


def test_threads_without_work_hold_no_connection(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    (worker,) = celery_setup.worker_cluster.nodes
    fast_sandbox.faults("hold")
    for user in connect_users(fast_sandbox, count=8):
        make_due(user)
    wait_for(lambda: len(sessions(worker.container)) >= 8, what="threads with work")
    fast_sandbox.clear()

    # What is left is the worker's own look for sweeps, and the thread of the latest chores: they
    # come every five seconds, and a connection goes after fifteen without work.
    wait_for(lambda: len(sessions(worker.container)) <= 5, what="their connections to go")
