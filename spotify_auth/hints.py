"""The connection to Redis for what workers tell each other: pauses, marks, rescued grants.

Nothing here is a truth: every caller goes on without Redis.
"""

import functools

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 1.0


def client() -> redis.Redis:
    """The client of the server in the settings; it never waits for more than a second."""
    return _client_of(settings.REDIS_URL)


@functools.cache
def _client_of(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
