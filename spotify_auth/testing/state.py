"""Forgetting what earlier tests have taught this process, and Redis."""

import redis

from spotify_auth import redis_client
from spotify_auth.refresh.process import process
from spotify_auth.web_api import pace, pause, transport

_KEYS = "spotify_auth:*"


def forget(redis_url: str) -> None:
    """Forget pauses, paces, limits and marks, and that Redis was away. Raises redis.RedisError.

    It deletes keys: the address must be that of a database for tests.
    """
    pause.forget()
    pace.forget()
    transport.forget()
    process.reset()
    redis_client.forget()
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(_KEYS):
            client.delete(key)
