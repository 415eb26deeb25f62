"""A pause of all refreshing, as real workers and a beat obey it."""

import pytest
from pytest_celery import CeleryTestSetup

from spotify_auth import chores, verbs
from spotify_auth.models import Chore
from spotify_auth.verbs import Operator
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

ANNA = Operator.named("anna")


@pytest.fixture
def lifetime() -> int:
    """Much longer than the test: what it holds is not given up, and it makes due what it wants."""
    return 600


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    return 1, 1


def sweeps() -> int:
    """How many sweeps workers have taken so far."""
    return Chore.objects.get(name=chores.SWEEP).times


def wait_for_sweeps(count: int) -> None:
    enough = sweeps() + count
    wait_for(lambda: sweeps() >= enough, what="more sweeps")


def test_workers_pause_from_the_commit_on_over_a_kill_and_until_they_are_resumed(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    first, second, alone = connect_users(fast_sandbox, count=3)
    fast_sandbox.faults("hold", users=[first.account_id], times=1)
    make_due(first)
    wait_for(lambda: fast_sandbox.stats()["held"] == 1, what="an exchange to be in flight")

    assert verbs.pause_all(operator=ANNA, reason="PostgreSQL moves").is_done
    assert verbs.pause(alone.pk, operator=ANNA, reason="ticket 17").is_done
    make_due(second)
    make_due(alone)
    wait_for_sweeps(2)
    fast_sandbox.release()
    wait_for(lambda: token_of(first).generation == 2, what="the pair in hand to be stored")
    worker = celery_setup.worker_cluster[0]
    worker.kill()
    worker.container.start()
    wait_for_sweeps(3)

    assert fast_sandbox.stats()["totals"]["refreshes_attempted"] == 1
    assert verbs.resume_all(operator=ANNA, reason="it has moved").is_done
    wait_for(lambda: token_of(second).generation == 2, what="the next refresh")
    wait_for_sweeps(2)
    assert (token_of(alone).generation, token_of(alone).status) == (1, "paused")
    assert account_of(fast_sandbox, token_of(second).access_token) == second.account_id
