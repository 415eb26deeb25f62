"""Which users are due at which sweep."""

import numpy as np

from benchmarks.simulation.refusals.arrays import Times, Users
from benchmarks.simulation.scenario import SWEEP_SECONDS


class DueCalendar:
    """Each user is under one sweep; planning a user anew forgets the plan before."""

    def __init__(self, size: int) -> None:
        self._chunks: dict[int, list[Users]] = {}
        self._sweeps = np.zeros(size, np.int32)

    def plan(self, users: Users, due: Times, *, after: int) -> None:
        """Put each user under the first sweep after that one which finds them due.

        Whose time is infinite is never due.
        """
        users, due = users[np.isfinite(due)], due[np.isfinite(due)]
        if not users.size:
            return
        sweeps = np.maximum(np.ceil(due / SWEEP_SECONDS), after + 1).astype(np.int32)
        self._sweeps[users] = sweeps
        order = np.argsort(sweeps, kind="stable")
        users, sweeps = users[order], sweeps[order]
        starts = np.nonzero(np.diff(sweeps, prepend=-1))[0]
        for start, chunk in zip(starts, np.split(users, starts[1:]), strict=True):
            self._chunks.setdefault(int(sweeps[start]), []).append(chunk)

    def take(self, sweep: int) -> Users:
        """The users whom this sweep finds due, in no order."""
        chunks = self._chunks.pop(sweep, None)
        if chunks is None:
            return np.empty(0, np.int32)
        users = np.concatenate(chunks)
        planned: Users = users[self._sweeps[users] == sweep]
        return planned
