"""A worker that is killed in the middle of a bulk action: another goes on, nobody is done twice."""

from collections import Counter

import pytest
from django.conf import settings
from django.db.models.functions import Now

from accounts.models import User
from spotify_auth import bulk
from spotify_auth.models import BulkAction, Chore, Outcome, SpotifyToken, TokenEvent
from tests.support.database_faults import locked_elsewhere
from tests.support.many import fill
from tests.support.processes import (
    service_environment,
    teardown_together,
    wait_for,
    worker_process,
)

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

PEOPLE, HALFWAY = 600, 100


def test_another_worker_goes_on_and_nobody_is_done_twice(no_cooldown: None) -> None:
    fill(PEOPLE)
    root = User.objects.create(username="root", is_staff=True, is_superuser=True)
    env = service_environment(
        spotify_url="http://127.0.0.1:1", redis_url=settings.REDIS_URL, REFRESH_SWEEP_SECONDS="0.2"
    )
    # No beat runs: a worker that misses its sweeps does them itself.
    first = worker_process("first", env=env)
    workers = [first]
    try:
        first.ready()
        next_one = SpotifyToken.objects.order_by("pk")[HALFWAY].pk
        with locked_elsewhere(
            "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", next_one
        ):
            begun = bulk.begin(
                "pause", query="status__exact=active", administrator=root, reason="r"
            )
            wait_for(lambda: done(begun) == HALFWAY, what="the first worker to be at it")
            first.kill()
        assert done(begun) == HALFWAY == SpotifyToken.objects.filter(status="paused").count()

        # As a minute later: nothing was heard of it, and the chore is due.
        BulkAction.objects.update(moved_at=Now() - 2 * bulk.ABANDONED)
        Chore.objects.filter(name=bulk.CHORE).update(done_at=None)
        workers.append(worker_process("second", env=env))
        wait_for(
            lambda: BulkAction.objects.get(pk=begun.pk).state == BulkAction.State.DONE,
            what="the second worker to finish it",
            seconds=90,
        )
    finally:
        teardown_together(workers)

    acted = TokenEvent.objects.filter(outcome=Outcome.PAUSED).values_list("user_id", flat=True)
    assert len(acted) == done(begun) == PEOPLE
    assert set(Counter(acted).values()) == {1}


def done(begun: BulkAction) -> int:
    count: int = BulkAction.objects.values_list("done", flat=True).get(pk=begun.pk)
    return count
