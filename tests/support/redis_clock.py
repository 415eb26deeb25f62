"""The clock by which workers agree."""

import redis


def now_of(client: redis.Redis) -> int:
    """Redis's time, in milliseconds since 1970."""
    seconds, microseconds = client.time()
    return int(seconds * 1000 + microseconds // 1000)
