"""LOG_LEVEL means Celery's processes as it means Django's."""

import pytest
from pytest_celery import CeleryTestSetup

from tests.support.processes import teardown_together, wait_for, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lifetime() -> int:
    """Longer than the test: nothing is refreshed but what the test asks for."""
    return 120


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    """A beat, for the worker that the test starts."""
    return 0, 1


@pytest.mark.parametrize(("level", "says"), [("INFO", True), ("WARNING", False)])
def test_a_worker_writes_what_the_log_level_allows(
    celery_setup: CeleryTestSetup,
    service_env: dict[str, str],
    fast_sandbox: Sandbox,
    level: str,
    *,
    says: bool,
) -> None:
    (user,) = connect_users(fast_sandbox, 1)
    worker = worker_process("worker", env={**service_env, "LOG_LEVEL": level}, concurrency=1)
    try:
        make_due(user)
        wait_for(lambda: token_of(user).generation == 2, what="the refresh")
    finally:
        worker.stop()
    lines = worker.logs()
    teardown_together([worker])

    assert (" INFO spotify_auth.refresh.outcome_log refreshed user_id=" in lines) is says
    assert (" INFO celery.apps.worker " in lines) is says
