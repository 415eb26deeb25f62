"""The simulated history, and what it says of a refusal: `history.evidence`, without SQL."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.refusals.arrays import Times, Users
from spotify_auth.refresh import history
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.history import Evidence, Refusals

Kinds: TypeAlias = NDArray[np.signedinteger[Any]]
GRANTED, REFUSED, UNCOUNTED = 0, 1, 2
"""What an event says of refusals. Uncounted takes a place in the sample, as in SQL."""


class Events:
    """Every event of a run, in the order of their times."""

    def __init__(self) -> None:
        self.length = 0
        self._at = np.empty(1024)
        self._users = np.empty(1024, np.int32)
        self._kinds = np.empty(1024, np.int8)

    def add(self, at: Times, users: Users, kinds: Kinds | int) -> None:
        """Append events that are later than all before them, and in order."""
        first, self.length = self.length, self.length + at.size
        while self.length > self._at.size:
            self._at = np.resize(self._at, self._at.size * 2)
            self._users = np.resize(self._users, self._users.size * 2)
            self._kinds = np.resize(self._kinds, self._kinds.size * 2)
        self._at[first : self.length] = at
        self._users[first : self.length] = users
        self._kinds[first : self.length] = kinds

    def evidence(self, claim: Claim, *, refused_at: float, refused_before: int) -> Evidence:
        """What `history.evidence` would say of this refused claim now.

        `refused_at` is the time of its first refusal, or now if this is the first.
        """
        refused, answered = self.others(int(claim.user_id), refused_at)
        counted = Refusals(
            others_refused=refused, others_answered=answered, refused_before=refused_before
        )
        return history.weigh_refusals(claim, counted)

    def others(self, user: int, refused_at: float) -> tuple[int, int]:
        """Other users who were refused and who were answered, in the sample that SQL takes.

        The newest events, and as many on either side of the first refusal.
        """
        sample, end = history.SAMPLE, self.length
        before, middle = np.searchsorted(
            self._at[:end], (refused_at - history.SHORTLY_BEFORE_SECONDS, refused_at), side="right"
        )
        around = slice(max(before, middle - sample), min(middle + sample, end))
        newest = slice(max(before, end - sample), end)
        if newest.start <= around.stop:
            users = self._users[around.start : end]
            kinds = self._kinds[around.start : end]
        else:
            users = np.concatenate((self._users[around], self._users[newest]))
            kinds = np.concatenate((self._kinds[around], self._kinds[newest]))
        counted = (kinds != UNCOUNTED) & (users != user)
        users, kinds = users[counted], kinds[counted]
        return _distinct(users[kinds == REFUSED]), _distinct(users)


def _distinct(users: Users) -> int:
    """Faster than numpy's own unique, which takes care of more."""
    if users.size < 2:
        return users.size
    ordered = np.sort(users)
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
