"""One REDIS_URL means the same to redis-py and to Celery, over TCP, TLS and a socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from django.conf import settings as live_settings
from pytest_django import Settings

from dev.process import free_port
from dev.redis import Redis
from spotify_auth import redis_client, redis_url
from tests.support.servers import Authority, relaying


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    """A Redis of the test's own, which also listens on a socket."""
    server = Redis(
        tmp_path / "redis",
        port=free_port(),
        password="x",
        options=['save ""', f"unixsocket {tmp_path}/redis.sock"],
    )
    server.start()
    yield server
    server.stop()


def redis_py_reaches(url: str, settings: Settings) -> bool:
    """Whether redis_client leaves a key where `url` says."""
    settings.REDIS_URL = url
    try:
        return bool(redis_client.client().set("by redis-py", "1"))
    except redis.RedisError:
        return False


def celery_reaches(url: str) -> bool:
    """Whether our Celery application sends a message where `url` says."""
    app = Celery("other", set_as_current=False)
    app.config_from_object(live_settings, namespace="CELERY")
    app.conf.update(broker_url=redis_url.for_celery(url))
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=2)
            app.send_task("any", connection=connection, queue="by-celery", retry=False)
        except Exception:  # each version of kombu has errors of its own
            return False
    return True


def keys(server: Redis, number: int) -> set[bytes]:
    with redis.Redis.from_url(f"{server.url.removesuffix('/0')}/{number}") as client:
        return set(client.keys("by*"))


@pytest.mark.parametrize("scheme", ["unix", "redis+socket"])
@pytest.mark.parametrize("query", ["?db=3", "?virtual_host=3", "?virtual_host=/3"])
def test_a_socket_is_one_address_for_both(
    server: Redis, tmp_path: Path, settings: Settings, scheme: str, query: str
) -> None:
    url = f"{scheme}://:x@{tmp_path}/redis.sock{query}"

    assert redis_py_reaches(url, settings)
    assert celery_reaches(url)

    assert keys(server, 3) == {b"by redis-py", b"by-celery"}


def test_a_database_number_is_the_same_for_both(server: Redis, settings: Settings) -> None:
    url = server.url.removesuffix("/0") + "?db=4"

    assert redis_py_reaches(url, settings)
    assert celery_reaches(url)

    assert keys(server, 4) == {b"by redis-py", b"by-celery"}


@pytest.mark.parametrize(
    ("query", "reached"),
    [
        ("", False),  # a certificate that nobody vouches for is refused by default
        ("?ssl_cert_reqs=none", True),
        ("?ssl_cert_reqs=CERT_NONE", True),  # Celery's word
        ("?ssl_cert_reqs=required", False),
        ("?ssl_cert_reqs=CERT_REQUIRED", False),
        ("?ssl_ca_certs={authority}", True),
        ("?ssl_cert_reqs=required&ssl_ca_certs={authority}", True),
    ],
)
def test_a_certificate_is_judged_alike_by_both(
    server: Redis, tmp_path: Path, settings: Settings, query: str, reached: bool
) -> None:
    authority = Authority(tmp_path)
    port = int(server.url.rsplit(":", 1)[1].split("/")[0])
    with relaying(port, tls=authority.server_context()) as tls_port:
        url = f"rediss://:x@127.0.0.1:{tls_port}/2{query.format(authority=authority.file)}"

        assert redis_py_reaches(url, settings) is reached
        assert celery_reaches(url) is reached


def test_a_certificate_for_another_name_is_refused_by_both(
    server: Redis, tmp_path: Path, settings: Settings
) -> None:
    authority = Authority(tmp_path)
    port = int(server.url.rsplit(":", 1)[1].split("/")[0])
    with relaying(port, tls=authority.server_context(host="elsewhere.test")) as tls_port:
        url = f"rediss://:x@127.0.0.1:{tls_port}/2?ssl_ca_certs={authority.file}"

        assert not redis_py_reaches(url, settings)
        assert not celery_reaches(url)


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://127.0.0.1:26379",
        "http://127.0.0.1",
        "rediss://127.0.0.1?ssl_cert_reqs=perhaps",
    ],
)
def test_an_address_that_one_of_them_would_not_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"not|none"):
        redis_url.parse(url)
