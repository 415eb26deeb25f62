"""The drill at the end of a soak: which alerts fire, fault by fault, and none in a quiet time.

The mischief before it takes seconds, and no alert is for that. Here each fault lasts for a few
scrapes that promtool takes for minutes (`tests.support.alerts`). It comes when all else is judged.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis
from django.conf import settings

from benchmarks.soak.cluster import Cluster
from spotify_auth import cooldown
from spotify_auth.figures.traffic import MASS_REFUSAL
from spotify_auth.models import Outcome, SpotifyToken, TokenEvent
from tests.support.alerts import Scrapes, fired
from tests.support.processes import wait_for
from tests.support.tokens import ago

USERS = 150
"""So many, or all, are due at each scrape: of a tenth that fails chance must not hide half."""
BEFORE, DURING = 3, 16
"""Scrapes: the rules look back five minutes, which are ten of them."""
EVERY_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """One fault, and the alert that must be all that fires; nothing in a quiet time."""

    name: str
    begin: Callable[[], object]
    alert: str = ""
    overdue: float = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Drilled:
    """What a fault fired."""

    name: str
    expected: list[str]
    fired: list[str]

    @property
    def met(self) -> bool:
        """Its own alert, and no other."""
        return self.fired == self.expected


def drill(cluster: Cluster) -> Iterator[Drilled]:
    """Each fault in its turn. The last one ends the workers and beats."""
    user_ids = cluster.user_ids[-USERS:]
    for each in _drills(cluster):
        print(f"drill: {each.name}", file=sys.stderr, flush=True)
        _recover(cluster, user_ids)
        scrapes = Scrapes(every_seconds=EVERY_SECONDS)
        scrapes.take(BEFORE, due_since=1, user_ids=user_ids)
        each.begin()
        scrapes.take(DURING, due_since=each.overdue, user_ids=user_ids)
        with tempfile.TemporaryDirectory() as directory:
            found = fired(scrapes.series, directory=Path(directory))
        yield Drilled(name=each.name, expected=[each.alert] if each.alert else [], fired=found)


def _drills(cluster: Cluster) -> list[Drill]:
    faults = cluster.sandbox.faults
    partly = [
        Drill(name=f"{name} for {share:.0%}", begin=partial(faults, name, share=share), alert=alert)
        for name, alert in (
            ("unavailable", "SpotifyExchangesFail"),
            ("garbage", "SpotifyExchangesFail"),
            ("false_invalid_grant", "SpotifyMassRefusal"),
        )
        for share in (0.1, 0.5, 0.9)
    ]
    return [
        Drill(name="a quiet time", begin=lambda: None),
        *partly,
        Drill(
            name="invalid_client",
            begin=partial(faults, "invalid_client"),
            alert="SpotifyClientRefused",
        ),
        Drill(
            name="lanes behind",
            begin=partial(faults, "latency", seconds=2),
            alert="SpotifyBacklog",
            overdue=400,
        ),
        Drill(name="Redis away", begin=cluster.redis.stop, alert="SpotifyRedisAway"),
        Drill(
            name="workers and beats gone",
            begin=partial(_end_all, cluster),
            alert="SpotifyRenewalStopped",
        ),
    ]


def _recover(cluster: Cluster, user_ids: list[int]) -> None:
    """As though the last fault had never been."""
    cluster.sandbox.clear()
    if not _redis_answers():
        cluster.redis.start()
    before = TokenEvent.objects.latest("id").pk  # first: a lane may be faster than this process
    SpotifyToken.objects.update(failures=0, suspected_at=None, last_error="", due_at=ago(1))
    refreshed = TokenEvent.objects.filter(
        outcome=Outcome.REFRESHED, pk__gt=before, user__in=user_ids
    )

    def all_are_refreshed() -> bool:
        well = refreshed.values("user").distinct().count() == len(user_ids)
        _forget_in_redis()  # a refusal, or a pause, may have been in flight when the fault ended
        return well

    wait_for(all_are_refreshed, what="all to be refreshed", seconds=90)


def _forget_in_redis() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*cooldown.KEYS, MASS_REFUSAL)


def _redis_answers() -> bool:
    try:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _end_all(cluster: Cluster) -> None:
    for process in cluster.processes:
        process.kill()
    time.sleep(4 * cluster.config.sweep)
