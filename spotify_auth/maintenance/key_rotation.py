"""Bringing everything that is stored under the first key, beside workers and pages at work.

Nothing remembers how far it came: what is not under the first key is what is left to do. So it
may be killed at any point, and started again, also twice at the same time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from spotify_auth import sealed_values
from spotify_auth.encryption import DecryptionError
from spotify_auth.refresh import saved_grants
from spotify_auth.sealed_values import PrimaryKey, Row, Table, Unopened

AT_ONCE = 500
"""Rows in one transaction: their locks last for some milliseconds."""
COME_BACK_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long to wait for rows that another session has locked. A lane ends within half of this."""


@dataclass(slots=True)
class Result:
    """What came of it."""

    renewed: int = 0
    unopened: list[Unopened] = field(default_factory=list)
    """Values that no key opens."""
    held: int = 0
    """Rows that stayed locked to the end."""


class Rotation:
    """One run over everything, until it is done or `stopping` is set."""

    def __init__(self, *, stopping: threading.Event, progress: Callable[[int], None]) -> None:
        self.result = Result()
        self._stopping = stopping
        self._progress = progress

    def run(self) -> Result:
        """Go through Redis, then through every table, then come back to rows that were held.

        Redis first: a grant that waits there goes into its table. Raises django.db.Error and
        redis.RedisError.
        """
        self._renew_saved_grants()
        for table in sealed_values.tables():
            left = self._first_pass(table)
            self.result.held += self._come_back(table, left)
        return self.result

    def _renew_saved_grants(self) -> None:
        for name, sealed in saved_grants.stored():
            if self._stopping.is_set():
                return
            try:
                renewed = saved_grants.reseal(name, sealed)
            except DecryptionError as error:
                self.result.unopened.append(Unopened(name, str(error)))
            else:
                self._count(int(renewed))

    def _first_pass(self, table: Table) -> set[PrimaryKey]:
        """Look at each row once; the keys of those that another session locked or changed."""
        left: set[PrimaryKey] = set()
        after: PrimaryKey | None = None
        while not self._stopping.is_set():
            rows = table.outdated(after=after, limit=AT_ONCE)
            if not rows:
                break
            left |= self._renew(table, rows)
            after = rows[-1].primary_key
        return left

    def _come_back(self, table: Table, left: set[PrimaryKey]) -> int:
        """Try again what was held, until nothing is left or patience ends; how much is left."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while left and not self._stopping.is_set() and time.monotonic() < give_up:
            rows = table.outdated_among(sorted(left)[:AT_ONCE])
            still = self._renew(table, rows)
            if len(still) < len(left):
                give_up = time.monotonic() + PATIENCE_SECONDS
            left = still | set(sorted(left)[AT_ONCE:])
            if left:
                self._stopping.wait(COME_BACK_SECONDS)
        return len(left)

    def _renew(self, table: Table, rows: list[Row]) -> set[PrimaryKey]:
        """Seal rows again; the keys of those that were locked or changed meanwhile."""
        written, unopened = table.reseal(rows)
        self.result.unopened += unopened
        self._count(len(written))
        hopeless = {value.primary_key for value in unopened}
        return {row.primary_key for row in rows} - written - hopeless

    def _count(self, renewed: int) -> None:
        self.result.renewed += renewed
        self._progress(renewed)
