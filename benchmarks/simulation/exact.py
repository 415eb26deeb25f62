"""The schedule, event by event: each token and each lane by itself. For small numbers.

Lanes take the most urgent due token, as the service does: a lane that finds nothing
due, or a pause, ends, and a sweep opens it again.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass

from benchmarks.simulation.load import MINUTE, Load
from benchmarks.simulation.scenario import (
    LIFETIME_SECONDS,
    RATE_WINDOW_SECONDS,
    SWEEP_SECONDS,
    Failing,
    Scenario,
)
from spotify_auth import schedule
from spotify_auth.cooldown import UNAVAILABLE_SECONDS
from spotify_auth.refresh.history import FAILED_IN_A_ROW


@dataclass(slots=True)
class _Token:
    expires: float
    failures: int = 0


class ExactSimulation:
    """One run. Dormancy is left out: it changes who is due, not how they are served."""

    def __init__(self, scenario: Scenario, *, seed: int) -> None:
        self.scenario = scenario
        self.load = Load(scenario=scenario)
        self.random = random.Random(seed)
        self.tokens: list[_Token] = []
        self.due: list[tuple[float, int]] = []
        self.idle = scenario.lanes
        self.paused_from = self.paused_until = 0.0
        self.probing = False
        """The next claim after a pause goes alone."""
        self.failed: deque[float] = deque(maxlen=FAILED_IN_A_ROW)
        """When the latest attempts ended, all of which failed."""
        self.window, self.calls = -1, 0

    def run(self) -> Load:
        """Simulate the whole duration."""
        for user in range(self.scenario.users):
            wait = schedule.refresh_after(LIFETIME_SECONDS, fraction=self.random.random())
            due = 0.0 if self.scenario.all_due_at_once else self.random.random() * wait
            self.tokens.append(_Token(expires=due + LIFETIME_SECONDS - wait))
            self.due.append((due, user))
        heapq.heapify(self.due)
        sweeps = 1
        free_at: list[float] = []
        while True:
            now = min(sweeps * SWEEP_SECONDS, free_at[0] if free_at else float("inf"))
            if now >= self.scenario.duration:
                break
            if free_at and free_at[0] == now:
                heapq.heappop(free_at)
                turns = 1
            else:
                sweeps += 1
                turns, self.idle = self.idle, 0
            for turn in range(turns):
                ends = self._take(now)
                if ends is None:
                    # Whoever comes next would find nothing either.
                    self.idle += turns - turn
                    break
                heapq.heappush(free_at, ends)
        self._close_spells()
        return self.load

    def _take(self, now: float) -> float | None:
        """One turn of a lane: when it ends, or None if there is nothing to take."""
        if not self.due or self.due[0][0] > now or self.paused_from <= now < self.paused_until:
            return None
        if self.scenario.capacity(now) == 0:
            return None
        _, user = self.due[0]
        seconds = self.scenario.attempt_seconds(now)
        probes = self.probing and now >= self.paused_until
        if not self._admitted(now):
            self.load.count(now, attempts=1, refreshed=0, lane_seconds=seconds)
            return None
        outage = self.scenario.outage
        if outage and outage.holds_at(now):
            self.load.count(now, attempts=1, refreshed=0, lane_seconds=seconds)
            self._fail(user, now + seconds)
            if outage.failing is Failing.PAUSES:
                self._pause_if_nobody_is_answered(now, now + seconds, probes=probes)
                return None if probes else now + seconds
        else:
            self.load.count(now, attempts=1, refreshed=1, lane_seconds=seconds)
            self._refresh(user, now)
            self.failed.clear()
        if probes:
            self.probing = False
            # The others found the probe under way and wait for the next sweep.
            self.paused_from, self.paused_until = now, now + 1e-9
        return now + seconds

    def _pause_if_nobody_is_answered(self, now: float, ends: float, *, probes: bool) -> None:
        self.failed.append(ends)
        all_failed = len(self.failed) == FAILED_IN_A_ROW and self.failed[0] > ends - MINUTE
        if not probes and not all_failed:
            return
        if probes:
            # The others find the probe under way.
            self.paused_from = now
        elif now >= self.paused_until:
            # Attempts that begin until then fail too, and make the pause last longer.
            self.paused_from = ends
        self.paused_until, self.probing = ends + UNAVAILABLE_SECONDS, True

    def _admitted(self, now: float) -> bool:
        limit = self.scenario.rate_limit
        if limit is None:
            return True
        window = int(now // RATE_WINDOW_SECONDS)
        if window != self.window:
            self.window, self.calls = window, 0
        self.calls += 1
        if self.calls <= limit.per_second * RATE_WINDOW_SECONDS:
            return True
        self.paused_from, self.paused_until = now, now + limit.retry_after
        self.probing = True
        return False

    def _refresh(self, user: int, now: float) -> None:
        token = self.tokens[user]
        late = token.expires < now
        if token.expires < now + self.scenario.latency:
            self.load.was_stale(token.expires, now + self.scenario.latency)
        token.expires = now + LIFETIME_SECONDS
        token.failures = 0
        fraction = self.random.random()
        self._is_due(
            user, now + schedule.refresh_after(LIFETIME_SECONDS, fraction=fraction, late=late)
        )

    def _fail(self, user: int, now: float) -> None:
        token = self.tokens[user]
        token.failures += 1
        self._is_due(user, now + schedule.back_off(token.failures, fraction=self.random.random()))

    def _is_due(self, user: int, at: float) -> None:
        heapq.heapreplace(self.due, (at, user))

    def _close_spells(self) -> None:
        for token in self.tokens:
            if token.expires < self.scenario.duration:
                self.load.was_stale(token.expires, self.scenario.duration)
