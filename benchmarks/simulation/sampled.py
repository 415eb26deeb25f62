"""The schedule for any number of users: a sample of tokens, a sweep at a time, in numpy.

Users are exchangeable: none waits for another but through the lanes. So each token of a
sample stands for `users / sample` users, and lanes and databases are scaled down with
it; at up to `sample` users nothing is scaled. Within a sweep the tokens are served in the
order of their sweep of falling due, at the rate that lanes and databases allow.
"""

from collections import deque
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.dormant import Sleepers
from benchmarks.simulation.load import Load
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

SAMPLE = 200_000
"""Maximum number of simulated tokens: a minute then counts 4,400 of them, within 1.5 %."""

Tokens: TypeAlias = NDArray[np.int32]
Times: TypeAlias = NDArray[np.float64]


class SampledSimulation:
    """One run of `scenario` with at most `sample` tokens."""

    def __init__(self, scenario: Scenario, *, seed: int, sample: int = SAMPLE) -> None:
        self.scenario = scenario
        self.size = min(scenario.users, sample)
        self.load = Load(scenario=scenario, weight=scenario.users / self.size)
        self.random = np.random.default_rng(seed)
        self.sweep = 0
        self.failures = np.zeros(self.size, np.int16)
        wait = self._refresh_after(self.size)
        due = (
            np.zeros(self.size)
            if scenario.all_due_at_once
            else self.random.random(self.size) * wait
        )
        self.expires: Times = due + LIFETIME_SECONDS - wait
        self.calendar: dict[int, list[Tokens]] = {}
        """Tokens by the sweep that finds them due."""
        self.queue: deque[Tokens] = deque()
        """Tokens that are due, the most urgent first."""
        self.carried = 0.0
        self.paused_until = 0.0
        self.probing = False
        self.failed = 0.0
        """How many of the latest calls have failed, all of them, in users. That they fell into
        one minute, as the service asks, is true of any load above a call a second."""
        self.calls = 0.0
        self.sleepers = (
            Sleepers(scenario.dormancy, size=self.size, random=self.random)
            if scenario.dormancy
            else None
        )
        self._plan(np.arange(self.size, dtype=np.int32), due)

    def run(self) -> Load:
        """Simulate the whole duration."""
        for sweep in range(1, int(self.scenario.duration / SWEEP_SECONDS)):
            self.sweep, now = sweep, sweep * SWEEP_SECONDS
            if self.sleepers:
                woken = self.sleepers.visits(now, SWEEP_SECONDS)
                self.load.woke(now, int(np.count_nonzero(self.expires[woken] < now)))
                if woken.size:
                    self.queue.appendleft(woken)
            for chunk in self.calendar.pop(sweep, ()):
                self.queue.append(self.sleepers.let_sleep(chunk, now) if self.sleepers else chunk)
            if now % RATE_WINDOW_SECONDS == 0:
                self.calls = 0.0
            if now >= self.paused_until:
                self._serve(now)
        self._close_spells()
        return self.load

    def _serve(self, now: float) -> None:
        outage = self.scenario.outage
        failing = outage.failing if outage and outage.holds_at(now) else None
        rate = self.scenario.capacity(now) / self.load.weight
        if failing is Failing.PAUSES:
            if self.queue:
                self._serve_until_all_pause(now, rate)
            return
        if self.probing:
            # One lane goes first; the others come back at the next sweep.
            rate = min(rate, 1 / self.scenario.latency / self.load.weight)
            self.probing = False
        room = rate * SWEEP_SECONDS + self.carried
        tokens = self._take(int(self._allowed(now, room, rate)))
        # Lanes that run dry lose what they could have done; busy ones keep a fraction.
        self.carried = room % 1 if self.queue else 0.0
        if not tokens.size:
            return
        at = now + np.arange(tokens.size) / rate
        seconds = self.scenario.attempt_seconds(now)
        self.load.count(
            now,
            attempts=tokens.size,
            refreshed=0 if failing else tokens.size,
            lane_seconds=tokens.size * seconds,
        )
        if failing:
            self._fail(tokens, at + seconds)
        else:
            self._refresh(tokens, at)
            self.failed = 0.0

    def _serve_until_all_pause(self, now: float, rate: float) -> None:
        """Calls that fail until all lanes pause, or the probe's one."""
        weight, latency = self.load.weight, self.scenario.latency
        if self.probing:
            calls = 1 / weight
        else:
            # Lanes continue until the last of these has ended and they have heard of the pause.
            unheard = rate * latency
            calls = (FAILED_IN_A_ROW - self.failed) / weight + unheard
        room = min(rate * SWEEP_SECONDS, calls) + self.carried
        tokens = self._take(int(room))
        self.carried = room % 1 if self.queue else 0.0
        if tokens.size:
            self._fail(tokens, now + np.arange(tokens.size) / rate + latency)
        # A token may stand for many users, and one probe is less than a token.
        called = calls if self.probing else float(tokens.size)
        self.load.count(now, attempts=called, refreshed=0, lane_seconds=called * latency)
        self.calls += called
        self.failed += called * weight
        if self.failed >= FAILED_IN_A_ROW:
            ends = now + called / rate + latency
            self.paused_until, self.probing = ends + UNAVAILABLE_SECONDS, True

    def _allowed(self, now: float, room: float, rate: float) -> float:
        """How many of `room` calls the rate limit lets through; the next one pauses all."""
        limit = self.scenario.rate_limit
        if limit is None:
            return room
        waiting: int = sum(chunk.size for chunk in self.queue)
        left = limit.per_second * RATE_WINDOW_SECONDS / self.load.weight - self.calls
        wanted = min(room, waiting)
        if wanted > left:
            refused_at = now + left / rate
            self.paused_until, self.probing = refused_at + limit.retry_after, True
            self.load.count(now, attempts=1, refreshed=0, lane_seconds=self.scenario.latency)
            wanted = left
        self.calls += wanted
        return wanted

    def _take(self, wanted: int) -> Tokens:
        taken: list[Tokens] = []
        while wanted > 0 and self.queue:
            chunk = self.queue.popleft()
            if chunk.size > wanted:
                self.queue.appendleft(chunk[wanted:])
                chunk = chunk[:wanted]
            taken.append(chunk)
            wanted -= chunk.size
        return np.concatenate(taken) if taken else np.empty(0, np.int32)

    def _refresh(self, tokens: Tokens, at: Times) -> None:
        stored = at + self.scenario.latency
        before = self.expires[tokens]
        stale = np.nonzero(before < stored)[0]
        if stale.size and self.sleepers:
            # Nobody looked while it slept, and the visit is counted as a wake.
            stale = stale[~self.sleepers.woken[tokens[stale]]]
        for since, until in zip(before[stale], stored[stale], strict=True):
            self.load.was_stale(float(since), float(until))
        self.expires[tokens] = at + LIFETIME_SECONDS
        self.failures[tokens] = 0
        if self.sleepers:
            self.sleepers.woken[tokens] = False
        wait = self._refresh_after(tokens.size)
        late = before < at
        wait[late] = self._refresh_after(int(np.count_nonzero(late)), late=True)
        self._plan(tokens, at + wait)

    def _fail(self, tokens: Tokens, at: Times) -> None:
        self.failures[tokens] += 1
        failures = self.failures[tokens]
        wait = np.empty(tokens.size)
        for number in np.unique(failures):
            these = failures == number
            fractions: Any = self.random.random(np.count_nonzero(these))
            # The schedule's own functions take an array of fractions as well as one.
            wait[these] = schedule.back_off(int(number), fraction=fractions)
        self._plan(tokens, at + wait)

    def _refresh_after(self, size: int, *, late: bool = False) -> Times:
        fractions: Any = self.random.random(size)
        waits: Any = schedule.refresh_after(LIFETIME_SECONDS, fraction=fractions, late=late)
        return np.asarray(waits)

    def _plan(self, tokens: Tokens, due: Times) -> None:
        """Put each token under the first sweep, still to come, that finds it due."""
        sweep = np.maximum(np.ceil(due / SWEEP_SECONDS), self.sweep + 1).astype(np.int32)
        order = np.argsort(sweep, kind="stable")
        tokens, sweep = tokens[order], sweep[order]
        starts = np.nonzero(np.diff(sweep, prepend=-1))[0]
        for start, chunk in zip(starts, np.split(tokens, starts[1:]), strict=True):
            self.calendar.setdefault(int(sweep[start]), []).append(chunk)

    def _close_spells(self) -> None:
        end = self.scenario.duration
        stale = self.expires < end
        if self.sleepers:
            stale &= ~self.sleepers.unobserved()
        for since in self.expires[stale]:
            self.load.was_stale(float(since), end)
