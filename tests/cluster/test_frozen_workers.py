"""Workers that are frozen beyond their row lock, as on a suspended host, and then go on.

Meanwhile another worker refreshes their tokens, so that the refresh token in the frozen
process is dead. A server that revokes the grant at its reuse would end the connection.
"""

import time
from contextlib import ExitStack
from functools import partial
from signal import SIGCONT, SIGSTOP

import pytest
from pytest_celery import CeleryBrokerCluster

from accounts.models import User
from spotify_auth.refresh.saved_grants import RESCUE_SECONDS
from spotify_auth.schedule import longest_exchange
from tests.support.lanes import stopped_before_its_request
from tests.support.paces import let_nobody_look
from tests.support.processes import LocalProcess, beat_process, wait_for, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lifetime() -> int:
    """Long enough that nothing is refreshed but what the test makes due."""
    return 600


def has_ended_a_lane(worker: LocalProcess) -> bool:
    """Whether a lane of this worker lost PostgreSQL."""
    return "lane_ended reason=" in worker.logs()


TRIES = 4
"""Workers to freeze, each anew: one that has met a Redis that hangs asks none for half a minute."""


def freeze_before_its_second_request(worker: LocalProcess, sandbox: Sandbox, *, user: User) -> None:
    """The first request is cut, and Spotify has not carried it out."""
    sandbox.faults("hold", users=[user.account_id], when="before", times=1)
    sandbox.faults("connection_reset", users=[user.account_id], times=1)
    make_due(user)
    wait_for(lambda: sandbox.stats()["held"] == 1, what="the first request")
    worker.kill(SIGSTOP)
    sandbox.release()
    assert sandbox.stats(user.account_id)["refreshes_attempted"] == 1


@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        (5, 30),  # Spotify is given less time to answer, so that all else is shorter too
        pytest.param(12, 60, marks=pytest.mark.slow),  # as it is by default
    ],
)
def test_a_frozen_worker_presents_no_dead_token(
    service_env: dict[str, str],
    celery_broker_cluster: CeleryBrokerCluster,
    fast_sandbox: Sandbox,
    deadline: int,
    seconds: int,
) -> None:
    # PostgreSQL ends its lock meanwhile, and nobody waits for its grant any longer.
    assert seconds > longest_exchange(deadline) + RESCUE_SECONDS
    env = {
        **service_env,
        "TOKEN_ENDPOINT_DEADLINE_SECONDS": str(deadline),
        "REFRESH_SWEEP_SECONDS": "0.5",
    }
    (broker,) = celery_broker_cluster
    fast_sandbox.faults("reuse_revokes_grant")
    second_user, *others = connect_users(fast_sandbox, count=1 + 2 * TRIES)
    with ExitStack() as stack:

        def started(process: LocalProcess) -> LocalProcess:
            stack.callback(process.teardown)
            process.ready()
            return process

        started(beat_process("beat", env=env))
        # One lane each, and one worker after the other, so that it is known who does what.
        for before, user in zip(others[::2], others[1::2], strict=True):
            first = started(worker_process(f"first-{user.pk}", env=env, concurrency=1))
            fast_sandbox.faults("hold", users=[before.account_id], times=1)
            let_nobody_look(env["REDIS_URL"])
            make_due(before)
            wait_for(lambda: fast_sandbox.stats()["held"] == 1, what="the lane to be busy")
            if stopped_before_its_request(
                user,
                stop=partial(first.kill, SIGSTOP),
                redis=broker.container,
                sandbox=fast_sandbox,
            ):
                assert token_of(before).generation == 2
                break
            first.kill(SIGCONT)  # it may have been frozen too late
            first.stop()  # politely: what it has in hand is stored
        else:
            pytest.fail("no worker was frozen between its claim and its POST")
        users = [user, second_user]
        stack.callback(first.kill, SIGCONT)
        second = started(worker_process("second", env=env, concurrency=1))
        freeze_before_its_second_request(second, fast_sandbox, user=users[1])
        stack.callback(second.kill, SIGCONT)
        frozen_at = time.monotonic()
        started(worker_process("healthy", env=env))
        wait_for(
            lambda: [token_of(user).generation for user in users] == [2, 2],
            what="the other worker to refresh them",
            seconds=180,
        )
        time.sleep(max(0, frozen_at + seconds - time.monotonic()))

        for worker in (first, second):
            worker.kill(SIGCONT)

        for worker in (first, second):
            wait_for(partial(has_ended_a_lane, worker), what="the lane to end", seconds=180)
        wait_for(lambda: fast_sandbox.stats()["in_flight"] == 0, what="the exchanges to end")
        assert fast_sandbox.stats()["totals"]["reuses_of_dead_token"] == 0
        for user in users:
            make_due(user)
        wait_for(
            lambda: [token_of(user).generation for user in users] == [3, 3],
            what="the next refresh",
        )
        for user in users:
            assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id


@pytest.mark.timeout(180)
def test_a_worker_that_was_frozen_with_an_answer_saves_it_when_it_goes_on(
    service_env: dict[str, str], fast_sandbox: Sandbox
) -> None:
    """Nobody waits for it any longer, and another worker has been refused meanwhile."""
    env = {
        **service_env,
        "TOKEN_ENDPOINT_DEADLINE_SECONDS": "2",
        "REFRESH_SWEEP_SECONDS": "0.5",
    }
    (user,) = connect_users(fast_sandbox, count=1)
    with ExitStack() as stack:
        beat = beat_process("beat", env=env)
        stack.callback(beat.teardown)
        first = worker_process("first", env=env, concurrency=1)
        stack.callback(first.teardown)
        for process in (beat, first):
            process.ready()
        fast_sandbox.faults("hold", times=1)
        make_due(user)
        wait_for(lambda: fast_sandbox.stats()["held"] == 1, what="the answer to be held")
        first.kill(SIGSTOP)
        stack.callback(first.kill, SIGCONT)
        fast_sandbox.release()
        healthy = worker_process("healthy", env=env)
        stack.callback(healthy.teardown)
        wait_for(lambda: token_of(user).suspected_at is not None, what="the refusal", seconds=180)
        assert fast_sandbox.stats()["totals"]["reuses_of_dead_token"] == 1

        first.kill(SIGCONT)

        wait_for(lambda: "rescue_stored" in first.logs(), what="the grant to be saved")
        make_due(user)
        wait_for(lambda: token_of(user).generation == 2, what="the grant to be stored")
        assert token_of(user).status == "active"
        assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id
        assert fast_sandbox.stats()["totals"]["reuses_of_dead_token"] == 1
