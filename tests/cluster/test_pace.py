"""A limit that nobody has told, kept by two real workers together, also when Redis forgets it."""

import time

import pytest
from django.db.models.functions import Now
from pytest_celery import CeleryBrokerCluster, CeleryTestSetup
from pytest_django import Settings

from spotify_auth.models import SpotifyToken
from tests.support.paces import count_for_long
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

USERS, CALLS, SECONDS = 40, 20, 30


@pytest.fixture
def lifetime() -> int:
    """Longer than the test: nothing is refreshed but what the test asks for."""
    return 600


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    return 2, 1


def test_two_workers_keep_a_limit_together_also_when_redis_has_lost_it(
    celery_setup: CeleryTestSetup,
    celery_broker_cluster: CeleryBrokerCluster,
    fast_sandbox: Sandbox,
    service_env: dict[str, str],
    settings: Settings,
) -> None:
    settings.REDIS_URL = service_env["REDIS_URL"]
    connect_users(fast_sandbox, count=USERS)
    fast_sandbox.faults("limit", calls=CALLS, seconds=SECONDS)

    def total(name: str) -> int:
        return int(fast_sandbox.summary()["totals"][name])

    count_for_long()
    SpotifyToken.objects.update(due_at=Now())
    # The first part as fast as the lanes can, and then a pause until the window has passed.
    wait_for(lambda: total("refreshes") == CALLS, what="all that the limit lets through")
    wait_for(lambda: total("rate_limited") > 0, what="a 429")
    wait_for(lambda: total("refreshes") > CALLS + 3, what="a pace", seconds=2 * SECONDS)
    (broker,) = celery_broker_cluster
    broker.kill()
    broker.restart()
    before, restarted_at = total("refreshes"), time.monotonic()
    wait_for(lambda: total("refreshes") > before, what="a refresh", seconds=SECONDS)
    time.sleep(3)  # in which the pace lets two go, and all the lanes could take what is left

    refreshed = total("refreshes") - before
    assert refreshed <= 3 + (time.monotonic() - restarted_at) * CALLS / SECONDS
    wait_for(lambda: total("refreshes") == USERS, what="all to be refreshed", seconds=3 * SECONDS)
    assert set(SpotifyToken.objects.values_list("generation", flat=True)) == {2}
    assert total("reuses_of_dead_token") == 0
    workers = celery_setup.worker_cluster.nodes[:2]
    assert all(" refreshed user_id=" in worker.logs() for worker in workers)
