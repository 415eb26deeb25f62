"""Everything that an operator asks first, from six short queries and one question to Redis."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from spotify_auth import freshness, schedule
from spotify_auth.conf import settings
from spotify_auth.figures import counts, samples, statuses, traffic
from spotify_auth.figures.counts import Total
from spotify_auth.figures.samples import Budget
from spotify_auth.figures.traffic import Traffic
from spotify_auth.freshness import Freshness

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """How the service is at this moment. Times in seconds."""

    freshness: Freshness
    by_status: Mapping[str, int]
    """Tokens by status, and `statuses.SLEEPING`: the count of the last minute."""
    budget: Budget
    sweep_age: float | None
    """Since the last sweep, of beat or of a worker; None if there was none yet."""
    totals: Mapping[str, Total]
    """What happened ever, by outcome."""
    counted_age: float | None
    """How old `totals` are; None before the first count."""
    traffic: Traffic | None
    """None without Redis."""

    @property
    def awake(self) -> int:
        """Connected users whose tokens are to be fresh: those that sleep are let expire."""
        return max(self.freshness.connected - self.by_status.get(statuses.SLEEPING, 0), 0)

    @property
    def need(self) -> float:
        """How many refreshes a second keep their tokens fresh."""
        return schedule.refreshes_needed(
            self.awake, lifetime=settings.ACCESS_TOKEN_LIFETIME_SECONDS
        )

    @property
    def pace_is_too_low(self) -> bool:
        """Whether the limit of the token endpoint is below the need, and tokens wait for it."""
        traffic = self.traffic
        return traffic is not None and traffic.pace_is_felt and traffic.pace < self.need

    @property
    def fresh_share(self) -> float:
        """The share of them with ACCESS_TOKEN_MINIMUM_SECONDS left; 1 if there are none."""
        return 1 - min(self.freshness.stale / self.awake, 1.0) if self.awake else 1.0


def look() -> Summary:
    """Ask PostgreSQL and Redis. Raises django.db.Error; without Redis it goes on."""
    return Summary(
        freshness=freshness.measure(),
        by_status=statuses.by_status(),
        budget=samples.budget(),
        sweep_age=freshness.sweep_age(),
        totals=counts.totals(),
        counted_age=counts.age(),
        traffic=look_at_redis(),
    )


def look_at_redis() -> Traffic | None:
    """What Redis knows of all workers; None if it does not answer, after a second or two."""
    try:
        return traffic.look()
    except redis.RedisError as error:
        logger.warning("traffic_unknown reason=%s", type(error).__name__)
        return None
