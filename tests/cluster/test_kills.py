"""Kills in the middle of an exchange, with real workers: what survives each.

The sandbox has rotated and holds its answer, so "between Spotify's answer and our
commit" is a place where a test can stand still.
"""

import os
import signal
import time
from functools import partial

import pytest
from django.db import connection as database
from pytest_celery import CeleryTestSetup

from accounts.models import User
from spotify_auth.models import Outcome, SpotifyToken
from tests.support.cluster import has_ended
from tests.support.processes import wait_for, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, connect_users, make_due, make_long_refused, token_of

WORKERS = 1
DEADLINE_SECONDS = 10
"""Time enough for a test to stand between the answer and the commit, also on a slow machine."""

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lifetime() -> int:
    """Long enough that nothing is refreshed but what a test makes due."""
    return 120


@pytest.fixture
def deadline() -> int:
    """Seconds that Spotify is given to answer."""
    return DEADLINE_SECONDS


@pytest.fixture
def service_env(service_env: dict[str, str], deadline: int) -> dict[str, str]:
    return {
        **service_env,
        "REFRESH_SWEEP_SECONDS": "0.5",
        "TOKEN_ENDPOINT_DEADLINE_SECONDS": str(deadline),
    }


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    """One worker and one beat: each that is killed is the last of its kind."""
    return WORKERS, 1


def hold_an_exchange(sandbox: Sandbox, user: User) -> None:
    """Let a worker refresh this user, and stop once Spotify has rotated."""
    sandbox.faults("hold", users=[user.account_id], times=1)
    make_due(user)
    wait_for(lambda: sandbox.stats()["held"] == 1, what="the answer to be held")


def worker_sessions() -> list[int]:
    """The process ids of the sessions that are inside a transaction: the lanes'."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def assert_spotify_and_we_agree(sandbox: Sandbox, user: User, *, generation: int) -> None:
    token = token_of(user)
    assert token.generation == sandbox.stats(user.account_id)["generation"] == generation
    assert account_of(sandbox, token.access_token) == user.account_id
    assert sandbox.stats()["totals"]["reuses_of_dead_token"] == 0


def test_a_session_that_postgresql_loses_costs_nothing(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    user, other = connect_users(fast_sandbox, count=2)
    hold_an_exchange(fast_sandbox, user)
    for pid in worker_sessions():
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    fast_sandbox.release()

    wait_for(lambda: token_of(user).generation == 2, what="the pair to be stored")
    assert_spotify_and_we_agree(fast_sandbox, user, generation=2)
    make_due(user)
    wait_for(lambda: token_of(user).generation == 3, what="the next refresh")
    assert_spotify_and_we_agree(fast_sandbox, user, generation=3)
    assert token_of(other).status == SpotifyToken.Status.ACTIVE


def test_a_killed_redis_costs_nothing(celery_setup: CeleryTestSetup, fast_sandbox: Sandbox) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    hold_an_exchange(fast_sandbox, user)
    celery_setup.broker.kill()

    fast_sandbox.release()

    wait_for(lambda: token_of(user).generation == 2, what="the pair to be stored")
    celery_setup.broker.container.start()
    make_due(user)
    wait_for(lambda: token_of(user).generation == 3, what="the next refresh", seconds=60)
    assert_spotify_and_we_agree(fast_sandbox, user, generation=3)


def test_killed_beats_cost_time_only(celery_setup: CeleryTestSetup, fast_sandbox: Sandbox) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    hold_an_exchange(fast_sandbox, user)
    for node in celery_setup.worker_cluster[WORKERS:]:
        node.kill()

    fast_sandbox.release()

    wait_for(lambda: token_of(user).generation == 2, what="the pair to be stored")
    celery_setup.worker_cluster[WORKERS].container.start()
    make_due(user)
    wait_for(lambda: token_of(user).generation == 3, what="the next refresh")
    assert_spotify_and_we_agree(fast_sandbox, user, generation=3)


@pytest.mark.parametrize("deadline", [4])  # the test waits for several of them
def test_a_worker_killed_while_the_answer_is_on_the_wire_ends_as_answer_lost(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    user, other = connect_users(fast_sandbox, count=2)
    hold_an_exchange(fast_sandbox, user)
    for node in celery_setup.worker_cluster[:WORKERS]:
        node.kill()
    fast_sandbox.release()

    celery_setup.worker_cluster[0].container.start()
    # The one pair that no client can save: it was on the wire. It is recognised as lost
    # (and not as revoked) when the mark of the attempt has become too old to be rescued.
    make_due(other)
    wait_for(lambda: token_of(other).generation == 2, what="the other to be refreshed", seconds=60)
    wait_for(lambda: has_outcome(user, Outcome.SUSPECTED), what="the first refusal", seconds=60)
    # It is condemned after three refusals over ten minutes, when the access token is dead.
    wait_for(lambda: condemned(user), what="the verdict", seconds=60)
    assert token_of(user).last_error == "answer_lost"

    (again, _) = connect_users(fast_sandbox, count=2)
    assert again == user
    assert token_of(user).status == SpotifyToken.Status.ACTIVE


def condemned(user: User) -> bool:
    """Whether the verdict is there; time passes meanwhile."""
    make_long_refused(user)
    return token_of(user).status == SpotifyToken.Status.RECONNECT_REQUIRED


def has_outcome(user: User, outcome: Outcome) -> bool:
    make_due_if_backing_off(user)
    return user.spotify_auth_events.filter(outcome=outcome).exists()


def make_due_if_backing_off(user: User) -> None:
    """Do not wait for the back-off of the attempts that met the killed worker."""
    if not user.spotify_auth_events.filter(outcome=Outcome.SUSPECTED).exists():
        make_due(user)
        time.sleep(0.3)


@pytest.mark.parametrize("deadline", [4])  # the test sleeps through it
def test_a_worker_that_was_frozen_beyond_the_deadline_reads_what_has_come(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, deadline: int
) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    hold_an_exchange(fast_sandbox, user)
    for node in celery_setup.worker_cluster[:WORKERS]:
        node.kill(signal.SIGSTOP)
    fast_sandbox.release()

    time.sleep(deadline + 0.5)
    for node in celery_setup.worker_cluster[:WORKERS]:
        node.kill(signal.SIGCONT)

    wait_for(lambda: token_of(user).generation == 2, what="the pair to be stored")
    assert_spotify_and_we_agree(fast_sandbox, user, generation=2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, number: signal.Signals
) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    hold_an_exchange(fast_sandbox, user)
    for node in celery_setup.worker_cluster[:WORKERS]:
        os.kill(int(node.container.id.removeprefix("pid")), number)
    time.sleep(0.5)

    fast_sandbox.release()

    for node in celery_setup.worker_cluster[:WORKERS]:
        wait_for(partial(has_ended, node), what="the worker to end")
    assert_spotify_and_we_agree(fast_sandbox, user, generation=2)


def test_a_worker_that_has_grown_too_large_ends_without_cutting_an_exchange(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, service_env: dict[str, str]
) -> None:
    large = worker_process("large", env={**service_env, "WORKER_MAX_MEMORY_MIB": "1"})
    for node in celery_setup.worker_cluster[:WORKERS]:
        node.container.stop()
    try:
        large.ready()
        user, other = connect_users(fast_sandbox, count=2)
        hold_an_exchange(fast_sandbox, user)
        make_due(other)  # its lane ends, and notices
        wait_for(lambda: "worker_recycled" in large.logs(), what="the worker to notice")
        assert large.status == "running"

        fast_sandbox.release()

        wait_for(lambda: large.status == "exited", what="the worker to end")
        assert_spotify_and_we_agree(fast_sandbox, user, generation=2)
        # A second lane may have found nothing to do, and noticed, before the other was due.
        generation = token_of(other).generation
        assert_spotify_and_we_agree(fast_sandbox, other, generation=generation)
    finally:
        large.teardown()
