"""The connection to Redis for what workers tell each other: pauses, marks, rescued grants.

Nothing here is a truth: every caller goes on without Redis.
"""

import threading
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from spotify_auth.conf import settings

TIMEOUT_SECONDS = 1.0


class _Local(threading.local):
    """One connection a thread: taking one out of a pool costs a quarter of a call."""

    def __init__(self) -> None:
        self.url = ""
        self.client: redis.Redis | None = None
        self.scripts: dict[str, Script] = {}


_local = _Local()


def client() -> redis.Redis:
    """This thread's client; a dead server costs a second or two. Raises redis.RedisError."""
    if _local.client is None or _local.url != settings.REDIS_URL:
        _local.client = _connected(settings.REDIS_URL)
        _local.url = settings.REDIS_URL
        _local.scripts.clear()
    return _local.client


def run(script: str, *, keys: Sequence[str], args: Sequence[str | float | bytes] = ()) -> Any:
    """Run a Lua script, sent once and then called by its digest. Raises redis.RedisError.

    If the connection is lost in the middle it may run twice.
    """
    connected = client()
    if script not in _local.scripts:
        _local.scripts[script] = connected.register_script(script)
    return _local.scripts[script](keys=keys, args=args)


def _connected(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        single_connection_client=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # Once more for a connection that was lost while it was idle; not after a time-out.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
