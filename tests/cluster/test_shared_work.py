"""Workers share what waits: a full one reserves nothing, and asks again when a thread is free."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis
from pytest_celery import CeleryBrokerCluster

from config import celery_app
from tests.support.processes import LocalProcess, wait_for, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

StartWorker = Callable[..., LocalProcess]


@pytest.fixture
def lifetime() -> int:
    """Long, so that sweeps may be rare: nothing happens but what the test asks for."""
    return 3600


@pytest.fixture
def start_worker(service_env: dict[str, str]) -> Iterator[StartWorker]:
    """Starts workers, which do nothing of their own accord while the test lasts."""
    env = {**service_env, "REFRESH_SWEEP_SECONDS": "30"}
    with ExitStack() as stack:

        def start(name: str, *, threads: int) -> LocalProcess:
            worker = worker_process(name, env=env, concurrency=threads)
            stack.callback(worker.teardown)
            worker.ready()
            return worker

        yield start


@pytest.fixture
def broker(celery_broker_cluster: CeleryBrokerCluster) -> Iterator[redis.Redis]:
    """The Redis of the workers, and of the tasks that this process sends meanwhile."""
    (url,) = celery_broker_cluster.config()["urls"]
    with redis.Redis.from_url(url) as client:
        yield client


def send(broker: redis.Redis, task: str, *args: object, times: int) -> None:
    """Enqueue a task so often, for the workers of the test."""
    port = broker.get_connection_kwargs()["port"]
    with celery_app.connection_for_write(f"redis://127.0.0.1:{port}/0") as connection:
        for _ in range(times):
            celery_app.send_task(task, args=args, connection=connection)


def test_a_full_worker_leaves_lanes_to_the_others(
    start_worker: StartWorker, broker: redis.Redis, fast_sandbox: Sandbox
) -> None:
    for user in connect_users(fast_sandbox, count=8):
        make_due(user)
    fast_sandbox.faults("hold")
    start_worker("one", threads=4)
    send(broker, "spotify_auth.lane", times=8)
    wait_for(lambda: fast_sandbox.stats()["held"] == 4, what="the first worker to be full")
    assert broker.llen("lanes") == 4

    start_worker("two", threads=4)

    wait_for(lambda: fast_sandbox.stats()["held"] == 8, what="the second worker's lanes")
    fast_sandbox.clear()


def test_a_worker_looks_for_work_as_soon_as_a_thread_is_free(
    start_worker: StartWorker, broker: redis.Redis, fast_sandbox: Sandbox
) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    start_worker("one", threads=1)

    send(broker, "spotify_auth.refresh", user.pk, times=60)

    # One a second would take a minute.
    wait_for(lambda: not broker.llen("keeper"), what="all tasks to be taken", seconds=50)
