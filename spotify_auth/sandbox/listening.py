"""Who plays what when: each person goes round and round their tracks, by the wall clock."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from .catalogue import Json

RECENT_PLAYS = 50
"""Spotify remembers the last 50 plays."""


class Play(NamedTuple):
    """One track played to its end, and when that was (unix milliseconds)."""

    track: Json
    ended_ms: int

    def as_json(self) -> Json:
        ended = datetime.fromtimestamp(self.ended_ms / 1000, UTC)
        played_at = ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"track": self.track, "played_at": played_at, "context": None}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def track_at(rotation: Sequence[Json], moment_ms: int) -> tuple[int, int]:
    """Which track of the rotation plays at this moment, and how far into it, in milliseconds."""
    position = moment_ms % sum(track["duration_ms"] for track in rotation)
    for index, track in enumerate(rotation):
        if position < track["duration_ms"]:
            return index, position
        position -= track["duration_ms"]
    raise AssertionError("the position is less than the sum of all durations")


def recent_plays(rotation: Sequence[Json], moment_ms: int) -> list[Play]:
    """The plays that ended before this moment, newest first."""
    return list(_backwards(rotation, moment_ms)) if rotation else []


def _backwards(rotation: Sequence[Json], moment_ms: int) -> Iterator[Play]:
    index, progress = track_at(rotation, moment_ms)
    ended_ms = moment_ms - progress
    for step in range(1, RECENT_PLAYS + 1):
        track = rotation[(index - step) % len(rotation)]
        yield Play(track, ended_ms)
        ended_ms -= track["duration_ms"]
