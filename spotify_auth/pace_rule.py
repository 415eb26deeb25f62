"""How the limit of the token endpoint is learned from its 429s: pure functions, without a clock.

Unlimited until the first 429. What the last 30 s carried then tells the limit, whatever its kind:
if a window of 30 s or less is full, its calls are among those of the last 30 s, and a bucket
that is empty has given out no less than it was refilled with. So a little less than that is the
pace, as soon as a whole window is counted. From there it rises while tokens wait: slowly at first,
since the limit is near, and faster the longer nothing is refused, since the limit must have been
raised. After a day without a 429 it is forgotten.

All times are in seconds, by one clock; rates are exchanges a second.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

WINDOW_SECONDS: Final = 30
"""Spotify counts calls "in a rolling 30 second window" (its page Rate limits)."""
KEPT_SHARE: Final = 0.985
"""How much of what the window carried is the pace from then on."""
AGAIN_SHARE: Final = 0.975
"""How much of a pace is left when it is refused although it was kept for a whole window."""
RISE_PER_MINUTE: Final = 0.0002
"""How much the pace rises while tokens wait, at first."""
RISE_DOUBLES_SECONDS: Final = 450.0
"""After so much waiting without a 429 the rise is twice as fast, and so on: after half an hour
the pace has come from KEPT_SHARE to the limit, and in as long again it doubles."""
FASTEST_RISE_PER_MINUTE: Final = 0.05
DOUBTED_DOUBLES_SECONDS: Final = 60.0
"""How soon a pace doubles that was learned from a burst, while it is below that burst."""
BURST: Final = 2.0
"""The densest moment of the last window, beside its mean, that makes a burst."""
CHEAP_PAUSE_SECONDS: Final = 5.0
"""The doubt is tried out at once if Spotify asks for no longer pause: trying costs another one."""
DEAR_DOUBT_SECONDS: Final = 600.0
"""Else after tokens have waited for so long."""
FORGOTTEN_SECONDS: Final = 24 * 3600.0
LOWEST: Final = 0.5
"""No pace is lower, in exchanges a second: below it the pauses alone keep a limit."""
FAR_BELOW: Final = 0.5
"""A 429 at less than this share of what is known to be carried is a stray one, at first."""
STRAY_SECONDS: Final = 300.0
"""A second 429 within so much after a stray one is believed."""
EVIDENCE: Final = 10
"""So many exchanges tell a limit. A probe that is refused says only that Retry-After was short."""
LONGEST_PROBE_SECONDS: Final = 5.0
"""A probe that is refused makes the next pause twice as long, up to this or to Retry-After."""
BEST_SECONDS: Final = 3600.0
"""For how long it is remembered what was carried at most."""
_DENSE_SECONDS: Final = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What was begun lately and was not answered with 429."""

    window: int
    """In the last WINDOW_SECONDS."""
    densest: float
    """The rate of the densest of the last moments."""
    since_refusal: int
    """Since the second of the last 429, within the window."""

    @classmethod
    def of(cls, counts: Mapping[int, int], *, now: float, refused_at: float | None) -> Self:
        """From the counts of single seconds. The present second is part of the window."""
        last = int(now)
        within = {
            last - second: count
            for second, count in counts.items()
            if 0 <= last - second < WINDOW_SECONDS
        }
        return cls(
            window=max(sum(within.values()), 0),
            densest=max(
                sum(count for age, count in within.items() if age < seconds) / seconds
                for seconds in _DENSE_SECONDS
            ),
            since_refusal=sum(
                count
                for age, count in within.items()
                if refused_at is None or last - age > int(refused_at)
            ),
        )

    @property
    def rate(self) -> float:
        """The mean of the window."""
        return self.window / WINDOW_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What is known of the limit."""

    rate: float | None = None
    """The exchanges a second that the service allows itself. None: as many as it can."""
    refused_at: float | None = None
    """When the last 429 came that told something."""
    evidence: int = 0
    """The exchanges of the window that `rate` was learned from; 0 if it was not."""
    probes: int = 0
    """How many were refused since with nothing answered in between."""
    looked_at: float = 0.0
    tried_for: float = 0.0
    """For how long tokens have waited since the last 429."""
    doubted_to: float = 0.0
    """Up to this rate the pace may be much too low: it was learned from a burst."""
    doubted_from: float = 0.0
    """After how much `tried_for` that is tried out."""
    best: float = 0.0
    """The highest mean of a window, within BEST_SECONDS."""
    best_at: float = 0.0
    counted_from: float = -math.inf
    """What was begun before that is not all counted: Redis is new, was away, or lost its memory."""


def after_refusal(
    pace: Pace, *, now: float, begun_at: float, retry_after: float, carried: Carried
) -> Pace:
    """What is known after a 429 to an exchange that began at `begun_at`.

    `retry_after` is for how long everybody pauses now. `carried` does not count this exchange.
    """
    if pace.refused_at is not None and begun_at <= pace.refused_at:
        return _one_less(pace)
    is_recent = pace.refused_at is not None and now - pace.refused_at <= STRAY_SECONDS
    if is_recent and not carried.since_refusal:
        return replace(pace, refused_at=now, evidence=0, probes=pace.probes + 1)
    rate, evidence = _learned(pace, now, carried, is_recent=is_recent)
    # Only at first: a pace that was kept to and is refused is not too low.
    is_first = pace.rate is None and rate is not None
    is_burst = is_first and carried.densest > BURST * carried.rate
    is_dear = retry_after > CHEAP_PAUSE_SECONDS
    return replace(
        pace,
        rate=None if rate is None else max(rate, LOWEST),
        refused_at=now,
        evidence=evidence,
        probes=0,
        looked_at=now,
        tried_for=0.0,
        doubted_to=carried.densest if is_burst else 0.0,
        doubted_from=DEAR_DOUBT_SECONDS if is_dear else 0.0,
    )


def pause_after(pace: Pace, *, retry_after: float) -> float:
    """For how long everybody pauses after a 429, of which `pace` knows already.

    Longer than Spotify says when what it said was too short, again and again.
    """
    longest = max(retry_after, LONGEST_PROBE_SECONDS)
    return min(retry_after * 2.0 ** min(pace.probes, 10), longest)


def _one_less(pace: Pace) -> Pace:
    """It was under way when the first 429 came: the same refusal, and one carried less."""
    if pace.rate is None or not pace.evidence:
        return pace
    evidence = pace.evidence - 1
    rate = min(pace.rate, _little_less_than(evidence))
    return replace(pace, evidence=evidence, rate=max(rate, LOWEST))


def _learned(
    pace: Pace, now: float, carried: Carried, *, is_recent: bool
) -> tuple[float | None, int]:
    """The new rate, and the exchanges that it was learned from."""
    told = _little_less_than(carried.window)
    is_whole = now - pace.counted_from >= WINDOW_SECONDS
    if pace.rate is None and not is_whole:
        return None, 0
    if pace.rate is None:
        if carried.rate < FAR_BELOW * pace.best:
            return KEPT_SHARE * pace.best, 0
        if carried.window < EVIDENCE and not is_recent:
            return None, 0
        return told, carried.window
    if carried.rate < FAR_BELOW * pace.rate and not is_recent:
        return pace.rate, 0
    if is_recent and carried.since_refusal < EVIDENCE:
        return AGAIN_SHARE * pace.rate, 0
    # Within the window there may be more than the pace has let through since.
    kept = 1.0
    if pace.refused_at is None or now - pace.refused_at >= WINDOW_SECONDS:
        kept = AGAIN_SHARE
    if is_whole and told <= kept * pace.rate:
        return told, carried.window
    return kept * pace.rate, 0


def _little_less_than(window: int) -> float:
    return KEPT_SHARE * window / WINDOW_SECONDS


def after_a_while(pace: Pace, *, now: float, carried: Carried, waited: bool) -> Pace:
    """What is known some seconds later; `waited`: tokens have waited for their turn meanwhile.

    To be called every few seconds while exchanges go on.
    """
    if carried.rate >= pace.best or now - pace.best_at > BEST_SECONDS:
        pace = replace(pace, best=carried.rate, best_at=now)
    if pace.rate is None or pace.refused_at is None:
        return replace(pace, looked_at=now)
    if now - pace.refused_at >= FORGOTTEN_SECONDS:
        return Pace(best=pace.best, best_at=pace.best_at, looked_at=now)
    # A look that is long overdue says little of the time between.
    seconds = min(max(now - pace.looked_at, 0.0), WINDOW_SECONDS) if waited else 0.0
    if pace.rate < pace.doubted_to and pace.tried_for >= pace.doubted_from:
        rate = min(pace.rate * 2 ** (seconds / DOUBTED_DOUBLES_SECONDS), pace.doubted_to)
    else:
        a_minute = RISE_PER_MINUTE * 2 ** (pace.tried_for / RISE_DOUBLES_SECONDS)
        rate = pace.rate * (1 + min(a_minute, FASTEST_RISE_PER_MINUTE)) ** (seconds / 60)
    return replace(pace, rate=rate, looked_at=now, tried_for=pace.tried_for + seconds)


def agreed(pace: Pace, remembered: float | None, *, now: float) -> Pace:
    """What holds when a process remembers a rate: the stricter one.

    A pace that is too low rises again; one that is too high costs a pause of everybody.
    """
    if remembered is None or (pace.rate is not None and pace.rate <= remembered):
        return pace
    refused_at = now if pace.refused_at is None else pace.refused_at
    return replace(pace, rate=max(remembered, LOWEST), refused_at=refused_at, looked_at=now)


def not_ahead(pace: Pace, *, now: float) -> Pace:
    """The same, for a clock that went back: nothing has happened later than now.

    A 429 would else teach nothing, and nobody would look, until the clock has caught up.
    """
    return replace(
        pace,
        refused_at=None if pace.refused_at is None else min(pace.refused_at, now),
        looked_at=min(pace.looked_at, now),
        best_at=min(pace.best_at, now),
        counted_from=min(pace.counted_from, now),
    )


def counted_anew(pace: Pace, *, now: float) -> Pace:
    """What holds when exchanges may have gone on that are not counted.

    Until a whole window is counted again, a 429 does not say how little the limit is.
    """
    return replace(pace, counted_from=now)
