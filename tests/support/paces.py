"""A pace in Redis, as if it had been learned some time ago."""

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


def learned() -> float | None:
    """The rate that holds for all, None for as many as possible."""
    return pace.known().pace.rate
