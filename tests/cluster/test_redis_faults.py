"""What a real worker and a real beat do, and print, when their Redis fails."""

from collections.abc import Callable

import pytest
import redis
from pytest_celery import CeleryTestSetup

from dev.process import free_port
from tests.support.cluster import has_ended
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lifetime() -> int:
    """Longer than the test: nothing is refreshed but what the test asks for."""
    return 120


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    return 1, 1


@pytest.fixture
def refreshed_again(celery_setup: CeleryTestSetup, fast_sandbox: Sandbox) -> Callable[[], None]:
    """Make the one user's token due, and wait until the worker has refreshed it."""
    (user,) = connect_users(fast_sandbox, count=1)

    def refresh() -> None:
        before = token_of(user).generation
        make_due(user)
        wait_for(lambda: token_of(user).generation > before, what="a refresh")

    refresh()
    return refresh


def test_a_worker_survives_a_redis_that_is_demoted_for_a_while(
    celery_setup: CeleryTestSetup,
    refreshed_again: Callable[[], None],
    service_env: dict[str, str],
) -> None:
    worker, beat = celery_setup.worker_cluster.nodes
    with redis.Redis.from_url(service_env["REDIS_URL"]) as admin:
        admin.replicaof("127.0.0.1", free_port())
        wait_for(
            lambda: "Connection to broker lost" in worker.logs(),
            what="the worker to lose its broker",
            seconds=60,
        )
        admin.replicaof("NO", "ONE")

    refreshed_again()

    assert not has_ended(worker)
    assert not has_ended(beat)
