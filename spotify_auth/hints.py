"""The connection to Redis for what workers tell each other: pauses, marks, rescued grants.

Nothing here is a truth: every caller goes on without Redis.
"""

import functools
from collections.abc import Sequence
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

TIMEOUT_SECONDS = 1.0


def client() -> redis.Redis:
    """The client of the server in the settings; it never waits for more than a second."""
    return _client_of(settings.REDIS_URL)


def run(script: str, *, keys: Sequence[str], args: Sequence[str | float] = ()) -> Any:
    """Run a Lua script, sent once and then called by its digest. Raises redis.RedisError."""
    return _script_of(script, settings.REDIS_URL)(keys=keys, args=args)


@functools.cache
def _client_of(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


@functools.cache
def _script_of(text: str, url: str) -> Script:
    return _client_of(url).register_script(text)
