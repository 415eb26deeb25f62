"""Chores are done by whichever worker finds them due, by PostgreSQL's clock, once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import redis
from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from spotify_auth import chores, tasks
from spotify_auth.models import Chore

pytestmark = pytest.mark.django_db(transaction=True)

NAME = str(tasks.house_keeping.name)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        broker.delete("keeper")
        yield
        broker.delete("keeper")


def done(**ago: float) -> None:
    Chore.objects.update_or_create(name=NAME, defaults={"done_at": Now() - timedelta(**ago)})


def test_a_chore_that_was_never_done_is_due() -> None:
    assert NAME in chores.enqueue_due()
    assert chores.take(NAME)
    assert NAME not in chores.enqueue_due()


@pytest.mark.parametrize(
    ("ago", "due"),
    [
        ({"minutes": 59}, False),
        ({"minutes": 61}, True),
        ({"minutes": -5}, True),  # begun before the database's clock was set back
    ],
)
def test_when_a_chore_is_due(ago: dict[str, float], due: bool) -> None:
    done(**ago)

    assert (NAME in chores.enqueue_due()) is due
    assert chores.take(NAME) is due
    assert not chores.take(NAME)


def test_one_that_was_given_back_is_due_again() -> None:
    assert chores.take(NAME)

    chores.give_back(NAME)

    assert chores.take(NAME)


def test_many_workers_begin_a_chore_once() -> None:
    done(hours=2)
    together = Barrier(8)

    def take(_: int) -> bool:
        try:
            together.wait()
            return chores.take(NAME)
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


def test_a_worker_that_just_begins_it_is_not_waited_for() -> None:
    done(hours=2)
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Chore.objects.select_for_update().get(name=NAME)

        assert not pool.submit(_take_and_close).result(timeout=5)


def _take_and_close() -> bool:
    try:
        return chores.take(NAME)
    finally:
        database.close()


def test_the_number_of_times_is_counted() -> None:
    done(hours=2)
    chores.take(NAME)
    Chore.objects.update(done_at=F("done_at") - HOUR)
    chores.take(NAME)

    assert Chore.objects.get().times == 2
