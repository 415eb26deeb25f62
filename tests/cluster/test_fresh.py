"""Three workers and two beats keep everybody fresh, and nobody refreshes twice."""

import time

import pytest
from pytest_celery import CeleryTestSetup

from spotify_auth.models import Outcome, TokenEvent
from tests.support.cluster import WORKERS
from tests.support.readers import Readers
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
]

USERS = 50

LIFETIME = 24
"""Seconds: the margin holds also while other tests share the machine."""


@pytest.fixture
def lifetime() -> int:
    """Seconds that an access token lives."""
    return LIFETIME


@pytest.fixture
def service_env(service_env: dict[str, str]) -> dict[str, str]:
    """Sweeps as rare as the margin allows: they are most of what the cluster does."""
    return {**service_env, "REFRESH_SWEEP_SECONDS": "0.3"}


def test_fifty_users_stay_fresh_over_several_lifetimes(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    users = connect_users(fast_sandbox, USERS)

    with Readers([user.pk for user in users], fast_sandbox) as readers:
        # Between two waves of refreshes, the second (1.4 to 1.6 lifetimes) and the third (2.1
        # to 2.4). What a kill in the middle of an exchange costs is in test_kills.
        time.sleep(LIFETIME * 1.85)
        celery_setup.worker_cluster[0].kill()  # one worker less changes nothing
        time.sleep(LIFETIME * 1.15)
    for node in celery_setup.worker_cluster:
        node.container.stop()

    assert set(readers.reads) == {"fresh"}, readers.reads
    assert set(readers.web_api) == {200}, readers.web_api
    refreshed = TokenEvent.objects.filter(outcome=Outcome.REFRESHED)
    # Everybody was refreshed in each lifetime, and never before 70 % of it had passed.
    assert all(refreshed.filter(user=user).count() >= 3 for user in users)
    assert not refreshed.filter(lifetime_used__lt=int(LIFETIME * 0.7)).exists()
    assert not TokenEvent.objects.exclude(
        outcome__in=[Outcome.CONNECTED, Outcome.REFRESHED]
    ).exists()
    totals = fast_sandbox.stats()["totals"]
    assert totals["reuses_of_dead_token"] == 0
    assert totals["invalid_grants"] == 0
    assert totals["logins"] == USERS
    # Zero extra refreshes: Spotify counted just those that are in the history.
    assert totals["refreshes_attempted"] == totals["refreshes"] == refreshed.count()
    assert {user["in_flight_max"] for user in fast_sandbox.stats()["users"].values()} == {1}
    # The work was shared.
    logs = [node.logs() for node in celery_setup.worker_cluster]
    assert sum(" refreshed user_id=" in log for log in logs) == WORKERS
