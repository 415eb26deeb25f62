"""The Redis that `make run` and `make test` start."""

from pathlib import Path

import psutil
import pytest
import redis

from dev.process import free_port
from dev.redis import Redis


def test_asks_for_the_password_and_shows_it_nowhere(home: Path) -> None:
    service = Redis(home / "redis", port=free_port(), password="right-password")
    server = service.start()
    try:
        with redis.Redis.from_url(service.url) as client:
            assert client.ping()
        with (
            redis.Redis.from_url(service.url.replace("right", "wrong")) as client,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            client.ping()
        assert "right-password" not in str(psutil.Process(server.pid).cmdline())
        assert "right-password" not in server.log.read_text()
    finally:
        service.stop()
    assert server.returncode == 0


def test_a_broker_that_restarts_has_lost_nothing(home: Path) -> None:
    service = Redis(home / "redis", port=free_port(), password="x", options=["appendonly yes"])
    for expected in (1, 2):
        service.start()
        try:
            with redis.Redis.from_url(service.url) as client:
                assert client.incr("starts") == expected
        finally:
            service.stop()


def test_a_server_that_cannot_start_names_its_log(home: Path) -> None:
    service = Redis(home / "redis", port=free_port(), password="x", options=["no-such-option"])

    with pytest.raises(SystemExit, match=r"redis did not start; its log is .*redis\.log"):
        service.start()
