"""Which users visit when, and which tokens are dormant (REFRESH_DORMANT_AFTER)."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.scenario import DAY, Dormancy

Tokens: TypeAlias = NDArray[np.int32]


class Sleepers:
    """The visits of each token's user: at random moments, at the rate of their kind."""

    def __init__(
        self, dormancy: Dormancy, *, size: int, random: np.random.Generator, start: float = 0.0
    ) -> None:
        self.after = dormancy.after
        self.random = random
        self.last_seen = np.empty(size)
        self.asleep = np.zeros(size, bool)
        self.woken = np.zeros(size, bool)
        """Woken by a visit, and not refreshed yet."""
        self.kinds: list[tuple[int, int, float]] = []
        """First token, last token and seconds between two visits, of each kind of user."""
        first = 0
        for number, kind in enumerate(dormancy.activities, 1):
            last = size if number == len(dormancy.activities) else first + int(size * kind.share)
            between = kind.days_between_visits * DAY
            self.kinds.append((first, last, between))
            # For visits at random moments, the time since the last one is exponential.
            self.last_seen[first:last] = start - random.exponential(between, last - first)
            first = last

    def visits(self, now: float, seconds: float) -> Tokens:
        """Let `seconds` of visits happen; the tokens that these woke."""
        seen = []
        for first, last, between in self.kinds:
            visits = self.random.poisson((last - first) * seconds / between)
            seen.append(self.random.integers(first, max(first + 1, last), visits, dtype=np.int32))
        tokens = np.unique(np.concatenate(seen))
        self.last_seen[tokens] = now
        woken: Tokens = tokens[self.asleep[tokens]]
        self.asleep[woken] = False
        self.woken[woken] = True
        return woken

    def let_sleep(self, tokens: Tokens, now: float) -> Tokens:
        """Of these due tokens, those whose users were seen lately; the others sleep."""
        dormant = now - self.last_seen[tokens] > self.after
        self.asleep[tokens[dormant]] = True
        awake: Tokens = tokens[~dormant]
        return awake

    def unobserved(self) -> NDArray[np.bool_]:
        """Tokens whose age does not count: dormant, or woken and counted as a wake."""
        return self.asleep | self.woken
