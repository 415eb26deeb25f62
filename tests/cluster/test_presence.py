"""Real workers and beats say that they are there, and one that ends gently says good-bye."""

import pytest
from pytest_celery import CeleryTestSetup
from pytest_django import Settings

import spotify_auth
from spotify_auth import presence
from spotify_auth.models import Presence
from spotify_auth.presence import Seen
from tests.support.cluster import sessions
from tests.support.processes import LocalProcess, wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lifetime() -> int:
    """Longer than the test: nothing is refreshed but what the test asks for."""
    return 120


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    return 2, 1


def sign_of(process: LocalProcess) -> Seen | None:
    return next((each for each in presence.seen() if each.pid == process.pid), None)


def test_a_process_is_there_until_it_is_frozen_killed_or_ends(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, settings: Settings
) -> None:
    settings.REFRESH_SWEEP_SECONDS = 0.5  # of the reader: the processes say it every 0.2 s
    worker, other, beat = (node.container for node in celery_setup.worker_cluster.nodes)

    def is_there(process: LocalProcess) -> bool:
        sign = sign_of(process)
        return sign is not None and sign.is_there

    wait_for(lambda: all(map(is_there, (worker, other, beat))), what="all signs")
    assert [(each.kind, each.lanes_allowed) for each in presence.seen()] == [
        (Presence.Kind.WORKER, 8),
        (Presence.Kind.WORKER, 8),
        (Presence.Kind.BEAT, 0),
    ]
    assert {each.version for each in presence.seen()} == {spotify_auth.__version__}
    wait_for(lambda: not sessions(beat), what="beat to hold no connection")

    fast_sandbox.faults("hold")
    for user in connect_users(fast_sandbox, count=2):
        make_due(user)
    wait_for(lambda: lanes_running() > 0, what="lanes that run")
    fast_sandbox.clear()
    wait_for(lambda: lanes_running() == 0, what="their end")

    worker.kill("SIGSTOP")
    wait_for(lambda: not is_there(worker), what="a frozen worker to be missed")
    worker.kill("SIGCONT")
    wait_for(lambda: is_there(worker), what="it to be back")

    worker.kill("SIGKILL")
    other.stop()
    beat.stop()
    assert [each.pid for each in presence.seen()] == [worker.pid]
    wait_for(lambda: not is_there(worker), what="a killed worker to be missed")


def lanes_running() -> int:
    return sum(each.lanes_running for each in presence.seen())
