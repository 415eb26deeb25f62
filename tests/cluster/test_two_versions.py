"""A worker of the previous version beside one of this version, on this version's tables.

`previous.zip` is the code of the version before the newest migration (CONTRIBUTING.md says how
it is made), so that a rolling upgrade is tested with what really runs beside the new workers.
"""

import zipfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection as database
from pytest_celery import CeleryTestSetup, CeleryTestWorker, CeleryWorkerCluster

from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.cluster import LIFETIME
from tests.support.processes import beat_process, teardown_together, wait_for, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, connect_users, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

USERS = 24


@pytest.fixture
def celery_worker_cluster(
    service_env: dict[str, str], tmp_path: Path
) -> Iterator[CeleryWorkerCluster]:
    """One worker of each version, with few threads, so that both have work; one beat."""
    with zipfile.ZipFile(Path(__file__).with_name("previous.zip")) as previous:
        previous.extractall(tmp_path)
    processes = [
        # It writes what --loglevel says, and not LOG_LEVEL: the banner alone.
        worker_process(
            "previous", env=service_env, concurrency=3, ready_when="[queues]", cwd=tmp_path
        ),
        worker_process("present", env=service_env, concurrency=3),
        beat_process("beat", env=service_env),
    ]
    cluster = CeleryWorkerCluster(*(CeleryTestWorker(process, app=None) for process in processes))
    try:
        cluster.ready()
        yield cluster
    finally:
        teardown_together(node.container for node in cluster)


def test_both_versions_refresh_the_same_rows(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    fast_sandbox.faults("latency", seconds=0.1)
    users = connect_users(fast_sandbox, count=USERS)
    wait_for(
        lambda: SpotifyToken.objects.filter(generation__gt=1).count() == USERS,
        what="a refresh of each token",
        seconds=2 * LIFETIME,
    )
    # Now each row may meet the other version's handwriting.
    wait_for(
        lambda: SpotifyToken.objects.filter(generation__gt=2).count() == USERS,
        what="a second refresh of each token",
        seconds=2 * LIFETIME,
    )

    events = TokenEvent.objects.filter(outcome=Outcome.REFRESHED)
    assert events.values("worker").distinct().count() == 2
    generations = defaultdict(list)
    for event in events.order_by("id"):
        generations[event.user_id].append((event.generation_before, event.generation_after))
    for steps in generations.values():
        assert all(after == before for (_, after), (before, _) in pairwise(steps))
    stats = fast_sandbox.stats()
    assert stats["totals"]["reuses_of_dead_token"] == 0
    assert {user["in_flight_max"] for user in stats["users"].values()} == {1}
    for user in users:
        assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id


def test_the_migrations_can_be_taken_back_without_losing_a_token(
    fast_sandbox: Sandbox, transactional_db: None
) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    try:
        call_command("migrate", "spotify_auth", "0001", verbosity=0)
        with database.cursor() as cursor:
            cursor.execute("SELECT generation FROM spotify_auth_spotifytoken")
            assert cursor.fetchall() == [(1,)]
    finally:
        call_command("migrate", "spotify_auth", verbosity=0)
    assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id
