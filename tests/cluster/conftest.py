"""A pytest-celery cluster of local processes: Redis, workers and beats, no Docker.

pytest-celery's nodes wrap anything that behaves like a container; `LocalProcess` does,
so the plug-in's kill, restart and wait-for-log calls drive real processes.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestBroker,
    CeleryTestWorker,
    CeleryWorkerCluster,
)

from config import celery_app
from dev.process import free_port
from dev.redis import redis_server
from spotify_auth.sandbox.worlds import World
from tests.support.cluster import BEATS, LIFETIME, WORKERS
from tests.support.processes import (
    LocalProcess,
    beat_process,
    service_environment,
    teardown_together,
    worker_process,
)
from tests.support.sandbox_client import Sandbox


@pytest.fixture
def lifetime() -> int:
    """Seconds that an access token lives.

    A test that counts refreshes and makes tokens due by itself takes more of them:
    else a slow machine adds a refresh that the schedule wanted.
    """
    return LIFETIME


@pytest.fixture
def fast_sandbox(lifetime: int, spotify_world: World) -> Iterator[Sandbox]:
    """A sandbox whose access tokens live for twelve seconds, unless a module says otherwise."""
    # Registered without a port, a loopback redirect URI accepts any.
    options = ["--redirect-uri", "http://127.0.0.1/spotify/callback/"]
    with Sandbox(access_token_lifetime=lifetime, world=spotify_world, options=options) as sandbox:
        yield sandbox


@pytest.fixture
def celery_broker_cluster(tmp_path: Path) -> Iterator[CeleryBrokerCluster]:
    """A Redis of its own, so that a test may kill it."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    process = LocalProcess(
        "redis",
        [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)],
        env={},
        ready_when="Ready to accept connections",
        celeryconfig={"url": url, "host_url": url},
    )
    broker = CeleryTestBroker(process)
    broker.ready()
    yield CeleryBrokerCluster(broker)
    broker.teardown()


@pytest.fixture
def celery_backend_cluster() -> CeleryBackendCluster | None:
    """No results are kept: no backend."""
    return None


@pytest.fixture
def celery_setup_app() -> Iterator[Celery]:
    """Our own: one that the plug-in makes would stay the current one in every later test.

    The plug-in gives it the broker that a test restarts; later tests need their own again.
    """
    broker = celery_app.conf.broker_url
    yield celery_app
    celery_app.conf.update(broker_url=broker)


@pytest.fixture
def service_env(
    transactional_db: None,
    lifetime: int,
    fast_sandbox: Sandbox,
    celery_broker_cluster: CeleryBrokerCluster,
) -> dict[str, str]:
    """What the cluster's processes find in their environment."""
    (redis_url,) = celery_broker_cluster.config()["urls"]
    return service_environment(
        spotify_url=fast_sandbox.url,
        redis_url=redis_url,
        # The margin is 20 % of a lifetime; 3 sweeps and 2 deadlines fit into it.
        ACCESS_TOKEN_LIFETIME_SECONDS=str(lifetime),
        ACCESS_TOKEN_MINIMUM_SECONDS="1",
        REFRESH_SWEEP_SECONDS="0.2",
        TOKEN_ENDPOINT_DEADLINE_SECONDS=str(lifetime * 0.075),
    )


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    """How many workers and beats there are."""
    return WORKERS, BEATS


@pytest.fixture
def celery_worker_cluster(
    service_env: dict[str, str], cluster_size: tuple[int, int]
) -> Iterator[CeleryWorkerCluster]:
    """Workers, then beats; the beats are nodes as well, so that they can be killed."""
    workers, beats = cluster_size
    processes = [
        *(worker_process(f"worker{n}", env=service_env) for n in range(workers)),
        *(beat_process(f"beat{n}", env=service_env) for n in range(beats)),
    ]
    cluster = CeleryWorkerCluster(*(CeleryTestWorker(process, app=None) for process in processes))
    try:
        cluster.ready()
        yield cluster
    finally:
        teardown_together(node.container for node in cluster)
