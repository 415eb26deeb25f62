"""A Redis that hangs, is away or was demoted: what a call costs, and what the log says."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from pytest_django import Settings

from dev.process import free_port
from dev.redis import Redis
from spotify_auth import cooldown, redis_client, redis_health
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.cooldown import Reason
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from spotify_auth.testing import state
from tests.support.claims import claim_of


@pytest.fixture
def server(tmp_path: Path, settings: Settings) -> Iterator[Redis]:
    """A Redis of the test's own, which it may stop, freeze or demote."""
    server = Redis(tmp_path / "redis", port=free_port(), password="x", options=['save ""'])
    server.start()
    settings.REDIS_URL = server.url
    yield server
    thaw(server)
    server.stop()


def freeze(server: Redis) -> None:
    """It accepts connections as before, and never answers."""
    assert server.server
    os.kill(server.server.pid, signal.SIGSTOP)


def thaw(server: Redis) -> None:
    if server.server and server.server.returncode is None:
        os.kill(server.server.pid, signal.SIGCONT)


def admin(server: Redis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the client said about Redis itself."""
    return [record.getMessage() for record in caplog.records if "health" in record.name]


def demote(server: Redis) -> None:
    with admin(server) as client:
        client.replicaof("127.0.0.1", free_port())


def promote(server: Redis) -> None:
    with admin(server) as client:
        client.replicaof("NO", "ONE")


def count_connects(patch: pytest.MonkeyPatch) -> list[object]:
    """One for each connection to a Redis that this thread tries to make from here on.

    The thread that adds up the reads of an earlier test may ask meanwhile.
    """
    connect, this_thread = redis.Connection._connect, get_ident()
    counted: list[object] = []

    def connect_and_count(connection: redis.Connection) -> Any:
        if get_ident() == this_thread:
            counted.append(connection)
        return connect(connection)  # type: ignore[no-untyped-call]

    patch.setattr(redis.Connection, "_connect", connect_and_count)
    return counted


def test_a_redis_that_hangs_costs_one_timeout(
    server: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redis_client.client().get("key") is None
    freeze(server)
    with pytest.raises(redis.TimeoutError):
        redis_client.client().get("key")

    with monkeypatch.context() as patch:
        connects = count_connects(patch)
        for _ in range(50):
            with pytest.raises(redis_health.StillAway):
                redis_client.run("return 1", keys=[])

    assert connects == []  # it is not even asked
    assert lines(caplog) == ["redis_away reason=TimeoutError"]
    # But the next test of a project must not suffer from it.
    thaw(server)
    state.forget(server.url)
    assert redis_client.client().get("key") is None


def test_a_redis_that_hung_is_asked_again(
    server: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert redis_client.client().get("key") is None
    freeze(server)
    with pytest.raises(redis.TimeoutError):
        redis_client.client().get("key")
    thaw(server)

    def answers() -> bool:
        try:
            return redis_client.client().get("key") is None
        except redis.RedisError:
            return False

    assert not answers()
    later = time.monotonic() + redis_health.ASK_AGAIN_SECONDS
    monkeypatch.setattr(redis_health, "time", SimpleNamespace(monotonic=lambda: later))
    assert answers()
    assert lines(caplog) == ["redis_away reason=TimeoutError", "redis_back"]


def test_an_urgent_call_always_asks(server: Redis) -> None:
    assert redis_client.client().get("key") is None
    freeze(server)
    with pytest.raises(redis.TimeoutError):
        redis_client.client().get("key")
    thaw(server)

    assert redis_client.client(urgent=True).set("key", "grant")

    assert redis_client.client().get("key") == b"grant"  # and that was a sign of life


def test_a_redis_that_refuses_is_asked_at_each_call(
    server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    assert redis_client.client().get("key") is None
    server.stop()
    with pytest.raises(redis.ConnectionError):
        redis_client.client().get("key")
    with pytest.raises(redis_health.StillAway):
        redis_client.client().get("key")

    server.start()

    assert redis_client.client().get("key") is None
    assert lines(caplog) == ["redis_away reason=ConnectionError", "redis_back"]


def test_a_demoted_redis_is_left(server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    assert redis_client.client().set("key", "value")
    first = redis_client.client().client_id()
    demote(server)

    for _ in range(3):
        with pytest.raises(redis.RedisError):
            redis_client.run("return redis.call('SET', KEYS[1], 'x')", keys=["key"])
        with pytest.raises(redis.RedisError):
            redis_client.client().set("key", "x")
        assert redis_client.client().get("key") == b"value"  # a replica reads: no sign of life

    assert lines(caplog) == ["redis_away reason=ReadOnlyError"]
    promote(server)
    assert redis_client.client().set("key", "new")
    # Each refusal ended the connection, since its address may lead to another server by now.
    assert redis_client.client().client_id() > first + 1
    assert lines(caplog) == ["redis_away reason=ReadOnlyError", "redis_back"]


def test_a_script_that_redis_has_forgotten_is_sent_again(server: Redis) -> None:
    for _ in range(2):
        assert redis_client.run("return KEYS[1] .. ARGV[1]", keys=["a"], args=["b"]) == b"ab"
        with admin(server) as client:
            client.script_flush()


def test_a_script_is_asked_again_over_a_new_connection(server: Redis) -> None:
    """Whatever stands between may end one that is idle."""
    script = "return redis.call('INCR', KEYS[1])"
    assert redis_client.run(script, keys=["n"]) == 1
    with admin(server) as client:
        client.client_kill_filter(_id=redis_client.client().client_id())

    assert redis_client.run(script, keys=["n"]) == 2


def test_a_script_that_is_not_answered_is_not_asked_again(
    server: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would cost every lane a second time-out, with a row lock held."""
    redis_client.run("return 1", keys=[])
    freeze(server)
    connects = count_connects(monkeypatch)
    with pytest.raises(redis.TimeoutError):
        redis_client.run("return 1", keys=[])

    assert connects == []  # a second question would be asked over another connection
    assert lines(caplog) == ["redis_away reason=TimeoutError"]


def test_callers_say_once_what_they_miss(server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    server.stop()
    caplog.handler.addFilter(redis_health.OncePerOutage())

    with caplog.at_level(logging.INFO):
        for _ in range(3):
            cooldown.start(Reason.UNAVAILABLE, seconds=5)

    assert [record.getMessage() for record in caplog.records] == [
        "redis_away reason=ConnectionError",
        "cooldown_not_shared reason=unavailable error=ConnectionError",
    ]


def test_a_grant_is_saved_in_spite_of_an_earlier_timeout(server: Redis) -> None:
    assert redis_client.client().get("key") is None
    freeze(server)
    with pytest.raises(redis.TimeoutError):
        redis_client.client().get("key")
    thaw(server)
    grant = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")

    assert saved_grants.save(claim_of(1, 2), SavedGrant(grant=grant, issued_at="2026-11-26"))
