"""Real workers and beats: a crowd of readers, workers that stop, a broker that is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
import requests
from django.db.models.functions import Now
from django.test import Client
from pytest_celery import CeleryTestSetup

from accounts.models import User
from dev.process import free_port
from spotify_auth import tokens
from spotify_auth.models import SpotifyToken
from tests.support.cluster import has_ended
from tests.support.processes import wait_for, web_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

USERS = 50
WORKERS = 2


@pytest.fixture
def lifetime() -> int:
    """Long enough that nothing is refreshed but what a test makes due."""
    return 1200


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    """Two workers and a beat: what needs more is in test_fresh.py."""
    return WORKERS, 1


def nothing_is_in_flight(sandbox: Sandbox) -> bool:
    return bool(sandbox.stats()["in_flight"] == 0)


def test_eight_tabs_a_user_at_the_moment_of_expiry_cause_one_refresh(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox, service_env: dict[str, str]
) -> None:
    port = free_port()
    web = web_process("web", env={**service_env, "HOST": "127.0.0.1", "PORT": str(port)})
    web.ready()
    users = connect_users(fast_sandbox, USERS)
    cookies = [session_cookie(user) for user in users]
    fast_sandbox.faults("latency", seconds=0.2)  # so that tabs meet the exchanges under way
    # None is due yet: whoever comes first meets the moment, however fast the workers are.
    SpotifyToken.objects.update(expires_at=Now(), refreshed_at=Now() - timedelta(seconds=100))

    def open_tab(cookie: str) -> tuple[int, bool]:
        answer = requests.get(
            f"http://127.0.0.1:{port}/dashboard/",
            cookies={"sessionid": cookie},
            allow_redirects=False,
            timeout=30,
        )
        return answer.status_code, "Reconnecting to Spotify" in answer.text

    with ThreadPoolExecutor(32) as pool:
        tabs = list(pool.map(open_tab, cookies * 8))
    wait_for(
        lambda: not SpotifyToken.objects.filter(generation=1).exists(),
        what="every token to be refreshed",
    )
    time.sleep(1)  # whatever else was asked for would arrive now
    wait_for(lambda: nothing_is_in_flight(fast_sandbox), what="the lanes to finish")
    web.teardown()

    # Nobody was sent to log in, nobody met an error, and somebody met the moment itself.
    assert {status for status, _ in tabs} == {200}
    assert any(stale for _, stale in tabs)
    assert set(SpotifyToken.objects.values_list("generation", "status")) == {(2, "active")}
    totals = fast_sandbox.stats()["totals"]
    assert totals["refreshes_attempted"] == USERS
    assert totals["reuses_of_dead_token"] == 0
    assert totals["logins"] == USERS


def session_cookie(user: User) -> str:
    """The session cookie of a browser in which this user has logged in."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def test_everything_recovers_when_the_workers_return(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    users = connect_users(fast_sandbox, count=10)
    workers = celery_setup.worker_cluster[:WORKERS]
    for node in workers:
        node.kill()
    for user in users:
        make_due(user, expired=True)
    attempted = fast_sandbox.stats()["totals"]["refreshes_attempted"]

    time.sleep(3)  # the beats go on asking for sweeps

    assert fast_sandbox.stats()["totals"]["refreshes_attempted"] == attempted
    for user in users:
        with pytest.raises(tokens.TokenStale):
            tokens.access_token_for(user.pk)
    workers[0].container.start()
    wait_for(
        lambda: all(_is_fresh(user) for user in users), what="the tokens to be fresh", seconds=40
    )
    assert fast_sandbox.stats()["totals"]["reuses_of_dead_token"] == 0


def test_a_flushed_broker_loses_nothing(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    users = connect_users(fast_sandbox, count=10)

    celery_setup.broker.kill()
    for user in users:
        make_due(user, expired=True)
    celery_setup.broker.container.start()

    wait_for(
        lambda: all(_is_fresh(user) for user in users), what="the tokens to be fresh", seconds=60
    )


def test_sigterm_lets_the_exchange_in_hand_finish(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    fast_sandbox.faults("hold")
    users = connect_users(fast_sandbox, count=40)
    for user in users:
        make_due(user)
    wait_for(lambda: fast_sandbox.stats()["held"] > 0, what="exchanges to be in flight")

    for node in celery_setup.worker_cluster[:WORKERS]:
        node.kill(signal="SIGTERM")
    fast_sandbox.clear()
    for node in celery_setup.worker_cluster[:WORKERS]:
        wait_for(partial(has_ended, node), what="the worker to end")

    # Each rotation that Spotify made is stored here: the next refresh would succeed.
    assert fast_sandbox.stats()["totals"]["refreshes"] > 0
    for user in users:
        generation = SpotifyToken.objects.get(pk=user.pk).generation
        assert fast_sandbox.stats(user.account_id)["generation"] == generation


def _is_fresh(user: User) -> bool:
    try:
        tokens.access_token_for(user.pk, minimum_seconds=1)
    except tokens.TokenStale:
        return False
    return True
