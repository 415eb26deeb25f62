"""The doctor asks Redis: a replica, one that throws things away, one that never answers."""

import socket
from collections.abc import Iterator

import pytest
import redis
from pytest_django import Settings

from dev.process import free_port
from dev.redis import Redis
from tests.support.doctor import diagnose, doctor


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that these tests may demote."""
    home = tmp_path_factory.mktemp("redis") / "data"
    server = Redis(home, port=free_port(), password="a-password-of-redis", options=['save ""'])
    server.start()
    yield server
    server.stop()


@pytest.fixture
def admin(server: Redis, settings: Settings) -> Iterator[redis.Redis]:
    """An operator's connection. Everything is as it should be."""
    settings.REDIS_URL = server.url
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("NO", "ONE")
        for name, value in (
            ("appendonly", "yes"),
            ("maxmemory-policy", "noeviction"),
            ("maxmemory", 0),
        ):
            client.config_set(name, value)
        yield client
        # One that writes its first append-only file refuses to stop.
        client.config_set("appendonly", "no")


def test_a_primary_that_keeps_everything(admin: redis.Redis) -> None:
    said = diagnose("redis")

    assert (said.bad, said.code) == ([], 0)


def test_a_replica(admin: redis.Redis) -> None:
    admin.replicaof("127.0.0.1", free_port())

    said = diagnose("redis")

    words = "It is a replica and takes no writes: no pauses, no limits, no new lanes."
    assert (said.bad, said.code) == ([("problem", words)], 1)


def test_a_user_who_may_not_write_and_one_who_may_ask_nothing(
    admin: redis.Redis, server: Redis, settings: Settings
) -> None:
    rights = {
        "reader": ("~*", "+@read", "+info", "+eval"),
        "nobody": ("~*", "+@read"),
        "elsewhere": ("~others:*", "+@all"),
    }
    said = {}
    for user, granted in rights.items():
        account = (user, "on", ">a-password-of-redis")
        admin.execute_command("ACL", "SETUSER", *account, *granted)  # type: ignore[no-untyped-call]
        settings.REDIS_URL = server.url.replace("://:", f"://{user}:")
        ((level, words),) = diagnose("redis").bad
        assert level == "problem"
        said[user] = words

    assert said["reader"].startswith("It takes no writes: no pauses, no limits, no new lanes.")
    assert said["elsewhere"].startswith("It takes no writes")
    assert said["nobody"].startswith("Redis does not allow the question. NoPermissionError")
    assert not admin.exists("spotify_auth:doctor")


@pytest.mark.parametrize(("limit", "level"), [(10**9, "problem"), (0, "warning")])
def test_one_that_throws_things_away(admin: redis.Redis, limit: int, level: str) -> None:
    admin.config_set("maxmemory", limit)
    admin.config_set("maxmemory-policy", "allkeys-lru")

    ((found, words),) = diagnose("redis").bad

    assert found == level
    assert words.startswith("Its maxmemory-policy is allkeys-lru: when it is full")


def test_one_that_is_nearly_full(admin: redis.Redis) -> None:
    used = int(admin.info("memory")["used_memory"])
    admin.config_set("maxmemory", int(used * 1.1))

    ((level, words),) = diagnose("redis").bad

    assert level == "warning"
    assert "of its maxmemory are in use" in words


def test_one_that_loses_grants_when_it_is_restarted(admin: redis.Redis) -> None:
    admin.config_set("appendonly", "no")

    ((level, words),) = diagnose("redis").bad

    assert (level, words.split(".")[0]) == ("warning", "Its append-only file is off")
    assert doctor("--only", "redis").code == 0
    assert doctor("--only", "redis", "--strict").code == 1


def test_one_that_hangs_hangs_no_other_check(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings.REDIS_URL = f"redis://:a-password-of-redis@127.0.0.1:{port}/0"

        said = diagnose("redis", "redirect-uri")

    ((level, words),) = said.bad
    assert level == "problem"
    assert words.startswith("Redis does not answer. TimeoutError")
    assert [each["check"] for each in said.findings] == ["redirect-uri", "redis"]
