"""What a real worker and a real beat print while Redis or PostgreSQL is lost."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.support.fault_stack import Stack, started_stack
from tests.support.processes import wait_for
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

LOST_SECONDS = 12


@pytest.fixture
def stack() -> Iterator[Stack]:
    settings = {
        "ACCESS_TOKEN_LIFETIME_SECONDS": "120",
        "ACCESS_TOKEN_MINIMUM_SECONDS": "1",
        "REFRESH_SWEEP_SECONDS": "0.5",
        "TOKEN_ENDPOINT_DEADLINE_SECONDS": "3",
    }
    with started_stack(lifetime=120, settings=settings) as stack:
        yield stack


def lines(stack: Stack, *, since: tuple[int, int]) -> list[str]:
    """What the worker and the beat have said since."""
    processes = zip((stack.worker, stack.beat), since, strict=True)
    return [line for process, seen in processes for line in process.logs()[seen:].splitlines()]


def now(stack: Stack) -> tuple[int, int]:
    return len(stack.worker.logs()), len(stack.beat.logs())


def wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until, what="the time to pass", seconds=seconds + 5)


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_a_lost_server_is_a_few_lines_and_is_found_again_soon(stack: Stack, server: str) -> None:
    (user,) = connect_users(stack.sandbox, count=1)
    before = now(stack)

    if server == "redis":
        stack.redis.kill()
        wait(LOST_SECONDS)
        stack.redis.start()
    else:
        stack.kill_postgres()
        wait(LOST_SECONDS)
        stack.postgres.start()
    back = time.monotonic()
    make_due(user)
    wait_for(lambda: token_of(user).generation == 2, what="the refresh")

    assert time.monotonic() - back < 8
    said = [line for line in lines(stack, since=before) if line and " INFO " not in line]
    assert len(said) <= 10, said
    assert all(re.match(r"\d{4}-", line) for line in said), said  # no traceback, no second line
