"""A worker's connections to PostgreSQL: kept from task to task, and replaced when they break."""

from collections.abc import Iterator

import pytest
from django.db import connection as database
from pytest_celery import CeleryTestSetup

from accounts.models import User
from spotify_auth import chores
from spotify_auth.models import Chore
from tests.support.cluster import kept_session
from tests.support.processes import LocalProcess, wait_for, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lifetime() -> int:
    """Longer than the test: nothing is refreshed but what the test asks for."""
    return 120


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    """A beat, for the worker of one thread that the test starts."""
    return 0, 1


@pytest.fixture
def worker(celery_setup: CeleryTestSetup, service_env: dict[str, str]) -> Iterator[LocalProcess]:
    """A worker of one thread, which therefore runs every task."""
    process = worker_process("one", env=service_env, concurrency=1)
    process.ready()
    yield process
    process.teardown()


def refresh(user: User) -> None:
    """Let the worker refresh this user once more."""
    before = token_of(user).generation
    make_due(user)
    wait_for(lambda: token_of(user).generation == before + 1, what="the refresh")


def sweeps() -> int:
    """How many sweeps the worker has taken."""
    return Chore.objects.get(name=chores.SWEEP).times


def test_a_thread_keeps_its_connection(worker: LocalProcess, fast_sandbox: Sandbox) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    refresh(user)
    first = kept_session(worker)

    refresh(user)

    assert kept_session(worker) == first


def test_a_connection_that_broke_is_replaced(worker: LocalProcess, fast_sandbox: Sandbox) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    refresh(user)
    first = kept_session(worker)
    before = sweeps()
    wait_for(lambda: sweeps() > before, what="the lane to end: the one thread sweeps again")
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [first])

    refresh(user)

    assert kept_session(worker) != first
    assert "lane_ended" not in worker.logs()  # it was found before a lane needed it
