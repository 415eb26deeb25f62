"""A service beside a limited endpoint: each token by itself, and lanes in steps of 100 ms.

Within a second, lanes, permits, the limit and answers are counted, in steps; then the tokens that
were taken, the most urgent first, get what their step was answered. A 429 is known when the answer
comes: what began meanwhile is refused as well, and all pause. Lanes wait for the end of a short
pause, and come back at the next sweep after a longer one. Without a pace, one lane goes first.
"""

from collections import deque
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation.pace.limiters import FixedWindow, Limiter, SlidingWindow, TokenBucket
from benchmarks.simulation.pace.pacer import Pacer
from benchmarks.simulation.pace.result import Result
from benchmarks.simulation.pace.scenario import (
    LATENCY_SECONDS,
    LIFETIME_SECONDS,
    SWEEP_SECONDS,
    Case,
    Kind,
    Pacing,
    RetryAfter,
)
from spotify_auth import cooldown, schedule
from spotify_auth.refresh.history import FAILED_IN_A_ROW

STEPS = 10
"""A second."""
STEP_SECONDS = 1 / STEPS
TEN = 10
LATENCIES = tuple(int(LATENCY_SECONDS * STEPS * share) for share in (0.5, 0.75, 1.0, 1.25, 1.5))
"""In steps."""
SETTLED_SECONDS = 1800
"""A run ends when the lanes have kept up for so long, and a turn of the schedule is over."""

Tokens: TypeAlias = NDArray[np.int32]


class PaceSimulation:
    """One run."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.random = np.random.default_rng(case.seed)
        self.lanes = max(1, round(case.mean * LATENCY_SECONDS * case.headroom))
        self.limiter = self._limiter()
        self.pacer = Pacer(case.pacing)
        self.pacer.is_told(case.cap * case.mean)
        self.result = Result(case=case)
        users = case.users
        wait = self._waits(users)
        due = self.random.random(users) * wait
        self.expires = due + LIFETIME_SECONDS - wait
        self.failures = np.zeros(users, np.int8)
        last = case.end + case.horizon + int(LIFETIME_SECONDS) + 10
        self.expiring = np.bincount(self.expires.astype(np.int64), minlength=last)
        self.due = np.zeros(users, np.int32)
        """The second in which a token is due."""
        self.calendar: dict[int, list[Tokens]] = {}
        """Tokens by the ten seconds in which they are due, and of these ten by the second."""
        self.soon: dict[int, list[Tokens]] = {}
        self.queue: deque[tuple[int, Tokens]] = deque()
        """Tokens that are due, and since when: the most urgent first."""
        self.waiting = self.stale = 0
        self.open = self.busy = 0
        """Lanes that look for work, and those of them that wait for an answer."""
        self.answers: dict[int, list[tuple[int, int, int]]] = {}
        """By the step in which they come: when they began, how many granted, how many refused."""
        self.paused_until, self.half_open = 0.0, False
        self.stray = case.stray_at is not None
        self._plan(np.arange(users, dtype=np.int32), due, now=-1)

    def run(self) -> Result:
        """Until all is well again, or the horizon."""
        case, settled = self.case, 0
        for second in range(case.end + case.horizon):
            self._fall_due(second)
            if case.change and second == case.end + int(case.change.at):
                self.limiter.per_second = case.change.cap * case.mean
                self.pacer.is_told(case.change.cap * case.mean)
            if case.end - case.outage <= second < case.end:
                self._fail(second)
                granted = 0
            else:
                granted = self._work(second)
            if second >= case.end:
                self.result.stale.append(self.stale)
                behind = bool(self.queue) and second - self.queue[0][0] > 2 * SWEEP_SECONDS
                if behind:
                    self.result.behind_seconds += 1
                    self.result.behind_granted += granted
                    self.result.behind_allowed += self.limiter.per_second
                settled = 0 if behind or self.stale else settled + 1
                turned = second > case.end + 1.5 * LIFETIME_SECONDS
                if settled > SETTLED_SECONDS and turned and not (case.change or self.stray):
                    break
        oldest = float(self.expires.min())
        self.result.longest = max(0.0, case.end + len(self.result.stale) - oldest)
        self.result.rate_at_the_end = self.pacer.rate and self.pacer.rate / case.mean
        return self.result

    def _limiter(self) -> Limiter:
        per_second = self.case.cap * self.case.mean
        match self.case.kind:
            case Kind.FIXED:
                return FixedWindow(per_second, phase=float(self.random.random()) * 30)
            case Kind.SLIDING:
                return SlidingWindow(per_second)
            case Kind.BUCKET:
                return TokenBucket(per_second)

    def _fall_due(self, second: int) -> None:
        if second % TEN == 0 and (of_ten := self.calendar.pop(second // TEN, None)):
            self._group(np.concatenate(of_ten), self.soon)
        if chunks := self.soon.pop(second, None):
            tokens = np.concatenate(chunks)
            self.queue.append((second, tokens))
            self.waiting += tokens.size
        self.stale += int(self.expiring[second])

    def _fail(self, second: int) -> None:
        """The endpoint is away: fifty fail, and then the one probe of each sweep."""
        self.open = self.busy = 0
        self.answers.clear()
        first = second == self.case.end - self.case.outage
        if first or second % SWEEP_SECONDS == 0:
            self._put_off(self._take(FAILED_IN_A_ROW + self.lanes if first else 1), second)
        self.paused_until, self.half_open = second + 1.0, True

    def _work(self, second: int) -> int:
        """One second; how many were granted in it."""
        if second % SWEEP_SECONDS == 0 and second >= self.paused_until and self.waiting:
            self.open = 1 if self.half_open else self.lanes
        steps: list[tuple[int, int, int]] = []
        left = self.waiting
        for step in range(second * STEPS, (second + 1) * STEPS):
            now = step * STEP_SECONDS
            for began, granted, refused in self.answers.pop(step, ()):
                self._answered(now, began, granted, refused)
            room = min(self.open - self.busy, left)
            if room <= 0 or now < self.paused_until:
                continue
            calls = self.pacer.permits(now, room)
            if not calls:
                continue
            self.pacer.begin(now, calls)
            granted = self._accepted(now, calls)
            left -= calls
            self.busy += calls
            self._will_answer(step, granted, calls - granted)
            steps.append((step, granted, calls - granted))
        self.pacer.look(second + 1.0)
        if not left and self.open:
            self.open = 0 if not self.busy else self.open
        return self._hand_out(steps, second)

    def _accepted(self, now: float, calls: int) -> int:
        stray_at = self.case.stray_at
        if self.stray and stray_at is not None and now >= self.case.end + stray_at:
            self.stray = False
            return self.limiter.accept(now, calls - 1)
        return self.limiter.accept(now, calls)

    def _will_answer(self, step: int, granted: int, refused: int) -> None:
        for index, latency in enumerate(LATENCIES):
            more = len(LATENCIES) - 1 - (index + step) % len(LATENCIES)
            these = (granted + more) // len(LATENCIES), (refused + more) // len(LATENCIES)
            if any(these):
                self.answers.setdefault(step + latency, []).append((step, *these))

    def _answered(self, now: float, began: int, granted: int, refused: int) -> None:
        self.busy -= granted + refused
        if granted and self.half_open:
            self.half_open = False
            self.open = 0
        for _ in range(refused):
            seconds = self._retry_after(now)
            seconds = self.pacer.refused(now, begun_at=began * STEP_SECONDS, retry_after=seconds)
            self.paused_until = max(self.paused_until, now + seconds)
        if refused and self.case.pacing is Pacing.NONE:
            self.half_open, self.open = True, 0
        elif refused and self.paused_until - now > cooldown.SHORT_SECONDS:
            self.open = 0

    def _retry_after(self, now: float) -> float:
        match self.case.retry_after:
            case RetryAfter.ONE:
                return 1.0
            case RetryAfter.HONEST:
                return min(max(self.limiter.free_after(now), 5.0), 30.0)
            case RetryAfter.THIRTY:
                return 30.0

    def _hand_out(self, steps: list[tuple[int, int, int]], second: int) -> int:
        """Give the tokens of this second what their step was answered; how many were granted."""
        if not steps:
            return 0
        counts = np.array([count for _, *both in steps for count in both])
        tokens = self._take(int(counts.sum()))
        granted = np.repeat(np.arange(counts.size) % 2 == 0, counts)
        began = np.repeat(np.repeat([step * STEP_SECONDS for step, _, _ in steps], 2), counts)
        if second >= self.case.end:
            self.result.calls += tokens.size
            self.result.refused += int(tokens.size - np.count_nonzero(granted))
        self._refresh(tokens[granted], began[granted], second)
        self._put_off(tokens[~granted], second)
        return int(np.count_nonzero(granted))

    def _take(self, wanted: int) -> Tokens:
        taken: list[Tokens] = []
        while wanted > 0 and self.queue:
            since, chunk = self.queue.popleft()
            if chunk.size > wanted:
                self.queue.appendleft((since, chunk[wanted:]))
                chunk = chunk[:wanted]
            taken.append(chunk)
            wanted -= chunk.size
            self.waiting -= chunk.size
        return np.concatenate(taken) if taken else np.empty(0, np.int32)

    def _refresh(self, tokens: Tokens, began: Any, second: int) -> None:
        if not tokens.size:
            return
        before = self.expires[tokens]
        # Whole seconds, as `expiring` counts them.
        late = before.astype(np.int64) <= second
        self.stale -= int(np.count_nonzero(late))
        np.subtract.at(self.expiring, before[~late].astype(np.int64), 1)
        wait = self._waits(tokens.size)
        was_late = before < began
        wait[was_late] = self._waits(int(np.count_nonzero(was_late)), late=True)
        expires = began + LATENCY_SECONDS / 2 + LIFETIME_SECONDS
        self.expires[tokens] = expires
        np.add.at(self.expiring, expires.astype(np.int64), 1)
        self.failures[tokens] = 0
        self._plan(tokens, began + wait, now=second)

    def _put_off(self, tokens: Tokens, second: int) -> None:
        if not tokens.size:
            return
        self.failures[tokens] += 1
        failures = self.failures[tokens]
        fractions = self.random.random(tokens.size)
        wait = [
            schedule.back_off(int(number), fraction=float(fraction))
            for number, fraction in zip(failures, fractions, strict=True)
        ]
        self._plan(tokens, second + np.array(wait), now=second)

    def _waits(self, size: int, *, late: bool = False) -> NDArray[np.float64]:
        fractions: Any = self.random.random(size)
        waits: Any = schedule.refresh_after(LIFETIME_SECONDS, fraction=fractions, late=late)
        return np.asarray(waits)

    def _plan(self, tokens: Tokens, due: NDArray[np.float64], *, now: int) -> None:
        """Put each token under the second, still to come, in which it is due."""
        seconds = np.maximum(np.ceil(due), now + 1).astype(np.int32)
        self.due[tokens] = seconds
        soon = seconds // TEN <= now // TEN
        self._group(tokens[soon], self.soon)
        self._group(tokens[~soon], self.calendar, seconds=TEN)

    def _group(self, tokens: Tokens, into: dict[int, list[Tokens]], *, seconds: int = 1) -> None:
        """Put each token under the seconds in which it is due."""
        if not tokens.size:
            return
        key = self.due[tokens] // seconds
        order = np.argsort(key, kind="stable")
        tokens, key = tokens[order], key[order]
        starts = np.nonzero(np.diff(key, prepend=-1))[0].tolist()
        for start, end in zip(starts, [*starts[1:], tokens.size], strict=True):
            into.setdefault(int(key[start]), []).append(tokens[start:end])
