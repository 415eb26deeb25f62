"""A pace in Redis, as if it had been learned some time ago."""

import redis

from spotify_auth import pace
from spotify_auth.pace_rule import Pace


def plant(rate: float, *, learned_ago: float = 60.0, tried_for: float = 0.0) -> None:
    """All processes have learned this rate, so many seconds ago."""
    pace._change(
        lambda seen: Pace(
            rate=rate,
            refused_at=seen.now - learned_ago,
            looked_at=seen.now,
            tried_for=tried_for,
        )
    )


def count_for_long() -> None:
    """Redis knows all exchanges of the last window, as it does half a minute after the first."""
    pace._change(lambda seen: Pace(looked_at=seen.now))


def learned() -> float | None:
    """The rate that holds for all, None for as many as possible."""
    return pace.known().pace.rate


def let_nobody_look(redis_url: str) -> None:
    """A lane that asks within nine seconds does not look at the pace before its next claim.

    It would meet a Redis that hangs there. A time that lies further ahead is that of a clock that
    went back, and counts for nothing.
    """
    with redis.Redis.from_url(redis_url) as client:
        seconds, _ = client.time()
        client.hset(pace.KEYS[0], "look_at", int(seconds + 2 * pace.LOOK_SECONDS - 1) * 1000)
