"""The metrics by name, in Prometheus's conventions: docs/reference/metrics.md lists them.

https://prometheus.io/docs/practices/naming/: base units (seconds), `_total` for counters.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

import spotify_auth
from spotify_auth.conf import settings
from spotify_auth.cooldown import Reason
from spotify_auth.figures import statuses
from spotify_auth.figures.counts import REFRESH_OUTCOMES, Total
from spotify_auth.figures.latency import BOUNDS_MS
from spotify_auth.figures.summary import Summary
from spotify_auth.figures.traffic import Traffic
from spotify_auth.freshness import Freshness
from spotify_auth.models import Outcome, Presence, SpotifyToken
from spotify_auth.presence import Seen
from spotify_auth.read_outcomes import OUTCOMES

Values: TypeAlias = Mapping[Any, float]
"""The value of each label."""


def of_servers(*, postgresql: bool, redis: bool) -> Iterator[Metric]:
    """What answers, and which version asks."""
    yield _gauges(
        "spotify_up",
        "Whether this part of the service answered within some seconds.",
        "part",
        {"postgresql": postgresql, "redis": redis},
    )
    yield _gauges(
        "spotify_build_info",
        "The version of the web process that answers.",
        "version",
        {spotify_auth.__version__: 1},
    )


def of_settings() -> Iterator[Metric]:
    """What alert rules compare figures with."""
    yield _gauge(
        "spotify_sweep_interval_seconds",
        "REFRESH_SWEEP_SECONDS: how often a sweep should come.",
        settings.REFRESH_SWEEP_SECONDS,
    )
    yield _gauge(
        "spotify_lanes_allowed",
        "REFRESH_LANES: how many lanes may ask at the same time.",
        settings.REFRESH_LANES,
    )


def of_summary(found: Summary) -> Iterator[Metric]:
    """What PostgreSQL knows."""
    yield from _of_freshness(found.freshness)
    yield _gauge(
        "spotify_tokens_fresh_ratio",
        "Share of connected users, sleeping ones left out, whose token is fresh.",
        found.fresh_share,
    )
    yield _gauge(
        "spotify_refresh_need",
        "Refreshes a second that keep the tokens of all connected users fresh.",
        found.need,
    )
    if found.by_status:
        by_status = {status: found.by_status.get(status, 0) for status in SpotifyToken.Status}
        yield _gauges("spotify_tokens", "Tokens by status.", "status", by_status)
        yield _gauge(
            "spotify_tokens_sleeping",
            "Active tokens of users who were not seen for long, let expire on purpose.",
            found.by_status.get(statuses.SLEEPING, 0),
        )
    yield _gauge(
        "spotify_freshness_budget_seconds",
        "What the objective allows: seconds in seven days in which nobody has a fresh token.",
        found.budget.allowed * 60,
    )
    yield _gauge(
        "spotify_freshness_budget_left_seconds",
        "What is left of it; below zero the objective is missed.",
        found.budget.left * 60,
    )
    yield _gauge(
        "spotify_sweep_age_seconds",
        "Seconds since the last sweep; infinite if there was none yet.",
        float("inf") if found.sweep_age is None else found.sweep_age,
    )
    if found.counted_age is not None:
        yield _gauge(
            "spotify_history_counted_age_seconds",
            "How old the counters are that come from the history.",
            found.counted_age,
        )
    yield from _of_totals(found.totals)


def _of_freshness(found: Freshness) -> Iterator[Metric]:
    gauges = {
        "spotify_tokens_overdue": ("Tokens that are due at this moment.", found.overdue),
        "spotify_token_oldest_overdue_seconds": (
            "For how long the most urgent of them is due.",
            found.oldest_overdue,
        ),
        "spotify_tokens_stale": (
            "Connected users without a fresh token, those that Spotify refused left out.",
            found.unexplained,
        ),
        "spotify_tokens_stale_refused": (
            "Connected users without a fresh token, because Spotify refused it.",
            found.refused,
        ),
        "spotify_tokens_expiring": (
            "Tokens that expire within 15 minutes and keep failing, or are due for too long.",
            found.expiring,
        ),
        "spotify_tokens_backing_off": ("Tokens whose last refresh failed.", found.backing_off),
        "spotify_tokens_suspected": ("Tokens refused, and not condemned yet.", found.suspected),
        "spotify_token_min_seconds_to_expiry": (
            "Seconds until the first access token expires, refused and sleeping ones left out.",
            found.worst_left,
        ),
    }
    for name, (documentation, value) in gauges.items():
        if value is not None:
            yield _gauge(name, documentation, value)


def _of_totals(totals: Mapping[str, Total]) -> Iterator[Metric]:
    """From the counted history. An outcome that never happened is 0: its first one is a rise."""
    events = {outcome: totals[outcome].events if outcome in totals else 0 for outcome in Outcome}
    refreshing = {name: count for name, count in events.items() if name in REFRESH_OUTCOMES}
    others = {name: count for name, count in events.items() if name not in REFRESH_OUTCOMES}
    yield _counters(
        "spotify_token_refresh", "Attempts to refresh, by outcome.", "outcome", refreshing
    )
    yield _counters(
        "spotify_token_events", "Other events of the history, by outcome.", "outcome", others
    )
    rotations = CounterMetricFamily(
        "spotify_token_rotations", "Refreshes that brought a new refresh token."
    )
    rotated = [found.rotated for name, found in totals.items() if name in REFRESH_OUTCOMES]
    rotations.add_metric([], sum(rotated))
    yield rotations
    yield _durations(totals)


def _durations(totals: Mapping[str, Total]) -> Metric:
    counted = [each.buckets for each in totals.values()] or [[0] * (len(BOUNDS_MS) + 1)]
    below = accumulate(sum(bucket) for bucket in zip(*counted, strict=True))
    bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    family = HistogramMetricFamily(
        "spotify_token_refresh_seconds", "How long exchanges with Spotify took, grants or not."
    )
    family.add_metric(
        [],
        buckets=list(zip(bounds, below, strict=True)),
        sum_value=sum(each.seconds for each in totals.values()),
    )
    return family


def of_processes(seen: Iterable[Seen]) -> Iterator[Metric]:
    """Workers and beats that are there, by version."""
    there = Counter((each.kind.value, each.version) for each in seen if each.is_there)
    family = GaugeMetricFamily(
        "spotify_processes", "Workers and beats at work.", labels=["kind", "version"]
    )
    for kind in Presence.Kind:
        there[kind.value, spotify_auth.__version__] += 0
    for labels, count in sorted(there.items()):
        family.add_metric(labels, count)
    yield family


def of_pause(*, paused: bool) -> Iterator[Metric]:
    """What an operator ordered."""
    yield _gauge("spotify_service_paused", "Whether an operator pauses all refreshing.", paused)


def of_traffic(found: Traffic) -> Iterator[Metric]:
    """What Redis knows."""
    yield _gauge("spotify_lanes_running", "Lanes that are asking Spotify.", found.lanes)
    yield _gauges(
        "spotify_cooldown",
        "Whether all refreshing pauses, or goes on with a probe, for this reason.",
        "reason",
        {reason: found.cooldown == reason for reason in Reason},
    )
    yield _gauge(
        "spotify_cooldown_left_seconds",
        "Seconds until somebody may ask Spotify again.",
        found.cooldown_left,
    )
    yield _gauge(
        "spotify_refresh_pace",
        "Exchanges a second that all workers allow themselves after a 429; infinite before one.",
        found.pace,
    )
    yield _gauge(
        "spotify_web_api_pace",
        "Web API calls a second that all processes allow themselves after a 429; infinite before.",
        found.web_api_pace,
    )
    yield _gauge(
        "spotify_mass_refusal",
        "Whether a refusal of the last minute was not believed: too many others were refused.",
        found.mass_refusal,
    )
    reads = {outcome: found.reads.get(outcome, 0) for outcome in OUTCOMES}
    yield _counters("spotify_token_reads", "What readers got, by outcome.", "outcome", reads)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))


def _gauges(name: str, documentation: str, label: str, values: Values) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for value_of_label, value in values.items():
        family.add_metric([str(value_of_label)], float(value))
    return family


def _counters(name: str, documentation: str, label: str, values: Values) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value_of_label, value in values.items():
        family.add_metric([str(value_of_label)], value)
    return family
