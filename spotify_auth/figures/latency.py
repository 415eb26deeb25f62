"""Durations of exchanges, counted in buckets: percentiles of any hour without its events."""

from collections.abc import Sequence
from typing import Final

BOUNDS_MS: Final = (50, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500, 5000, 10_000, 25_000)
"""The upper bounds of the buckets, in milliseconds; one more bucket has what took longer.

They are in the stored rows by their place alone: other bounds need another column."""


def percentile(buckets: Sequence[int], share: float) -> float | None:
    """The duration in seconds that `share` of all exchanges did not exceed; None without any.

    As Prometheus's histogram_quantile has it: even within a bucket, and at most the last bound.
    """
    wanted = share * sum(buckets)
    if not wanted:
        return None
    below = 0
    for place, bound in enumerate(BOUNDS_MS):
        inside = buckets[place]
        if inside and below + inside >= wanted:
            lower = BOUNDS_MS[place - 1] if place else 0
            return (lower + (bound - lower) * (wanted - below) / inside) / 1000
        below += inside
    return BOUNDS_MS[-1] / 1000
