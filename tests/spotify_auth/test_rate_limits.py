"""Limits counted in Redis: how many, when again, whom, and what happens without Redis."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest
import redis
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import rate_limits
from spotify_auth.rate_limits import Limited, Use, take
from tests.support.servers import speaking
from tests.support.tokens import Elsewhere

pytestmark = pytest.mark.usefixtures("no_cooldown")


@pytest.fixture(autouse=True)
def quiet_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "_memory", rate_limits._Memory())


@pytest.fixture
def redis_itself(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client


def use(who: str = "192.0.2.1", *, most: int = 3, seconds: float = 60, cost: int = 1) -> Use:
    return Use(name="logins", who=who, most=most, seconds=seconds, cost=cost)


def admitted(count: int, one: Use) -> int:
    """How many of so many uses are admitted."""
    number = 0
    for _ in range(count):
        try:
            take(one)
        except Limited:
            continue
        number += 1
    return number


def test_as_many_as_the_limit_are_admitted_at_once() -> None:
    assert admitted(20, use(most=7)) == 7


def test_the_next_one_is_admitted_after_its_share_of_the_time() -> None:
    def take_too_many() -> None:
        for _ in range(9):  # the second is, unless a second passes between them
            take(use(most=1, seconds=1))

    with pytest.raises(Limited) as limited:
        take_too_many()
    time.sleep(limited.value.retry_after + 0.05)
    take(use(most=1, seconds=1))

    assert limited.value.name == "logins"
    assert 0 < limited.value.retry_after <= 1


def test_who_goes_on_asking_does_not_wait_longer() -> None:
    admitted(3, use())
    waits = []
    for _ in range(50):
        with pytest.raises(Limited) as limited:
            take(use())
        waits.append(limited.value.retry_after)

    assert max(waits) == waits[0] <= 20


def test_a_clock_of_redis_that_went_back_refuses_for_no_longer_than_a_full_limit(
    redis_itself: redis.Redis,
) -> None:
    """As after a failover to a host whose clock is behind: nobody could log in until it is not."""
    take(use())
    (key,) = redis_itself.keys("spotify_auth:limit:logins:*")
    redis_itself.set(key, (time.time() + 3600) * 1000, ex=3600)

    with pytest.raises(Limited) as limited:
        take(use())

    assert limited.value.retry_after <= 20


def test_others_are_not_concerned() -> None:
    admitted(10, use("192.0.2.1"))

    take(use("192.0.2.2"))


def test_one_refusal_counts_for_no_limit() -> None:
    full, free = use("full", most=1), use("free", most=1)
    take(full)

    with pytest.raises(Limited):
        take(free, full)

    take(free)


def test_a_use_may_count_for_several() -> None:
    begun = time.monotonic()
    take(use(most=10, cost=6))

    with pytest.raises(Limited) as limited:
        take(use(most=10, cost=6))
    passed = time.monotonic() - begun
    take(use(most=10, cost=4))

    assert 12 - passed - 0.01 <= limited.value.retry_after <= 12


def test_more_at_once_than_the_limit_is_admitted_alone() -> None:
    take(use(most=3, cost=6))

    with pytest.raises(Limited):
        take(use(most=3))


def test_a_limit_of_nothing_is_none(redis_itself: redis.Redis) -> None:
    assert admitted(100, use(most=0)) == 100
    assert list(redis_itself.scan_iter("spotify_auth:limit:*")) == []


def test_threads_are_counted_together(elsewhere: Elsewhere) -> None:
    start = threading.Barrier(8)

    def some() -> int:
        start.wait()
        return admitted(25, use(most=20))

    running = [elsewhere(some) for _ in range(8)]
    assert sum(cast(int, each.result()) for each in running) == 20


def test_keys_say_nothing_and_end(redis_itself: redis.Redis) -> None:
    take(use("192.0.2.77", most=10, seconds=60))

    (key,) = redis_itself.scan_iter("spotify_auth:limit:*")
    assert b"192" not in key
    assert b"192" not in redis_itself.get(key)  # type: ignore[operator]
    assert 0 < redis_itself.pttl(key) <= 6000  # what was used is paid off


def test_keys_are_not_the_digests_of_addresses(
    redis_itself: redis.Redis, settings: Settings
) -> None:
    take(use())
    before = set(redis_itself.scan_iter("spotify_auth:limit:*"))
    settings.SECRET_KEY = "another"
    take(use())

    assert len(before | set(redis_itself.scan_iter("spotify_auth:limit:*"))) == 2


def test_nothing_is_limited_without_redis(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    assert admitted(100, use(most=1)) == 100
    assert "rate_limits_off" in caplog.text


def test_a_redis_that_hangs_costs_one_time_out(settings: Settings) -> None:
    asked: list[socket.socket] = []

    def hang(connection: socket.socket) -> None:
        asked.append(connection)
        connection.settimeout(60)
        while connection.recv(1024):
            pass

    with speaking(hang) as port:
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        assert admitted(200, use(most=1)) == 200

    # The thread that adds up the reads of an earlier test may ask in the same second.
    assert 1 <= len(asked) <= 2


def test_a_limit_is_logged_once_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        admitted(30, use())

    lines = [line for line in caplog.messages if "rate_limit_reached" in line]
    assert lines == ["rate_limit_reached limit=logins most=3 seconds=60"]
