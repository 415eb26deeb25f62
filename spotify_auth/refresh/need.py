"""Whether the limit of the token endpoint leaves room for the tokens that there are."""

import logging

import redis

from spotify_auth import redis_client, schedule
from spotify_auth.conf import settings
from spotify_auth.figures import statuses, traffic
from spotify_auth.models import SpotifyToken

logger = logging.getLogger(__name__)

_REPORTED = "spotify_auth:pace:below_need"
_REPORT_AGAIN_SECONDS = 60


def report() -> None:
    """Say, once a minute, by how much the pace is below the need, while tokens wait for it.

    Raises django.db.Error. Without Redis there is no pace of all to speak of.
    """
    try:
        now = traffic.look()
        if not now.pace_is_felt or now.pace == float("inf"):
            return
        tokens = statuses.by_status()
        awake = tokens.get(SpotifyToken.Status.ACTIVE, 0) - tokens.get(statuses.SLEEPING, 0)
        need = schedule.refreshes_needed(awake, lifetime=settings.ACCESS_TOKEN_LIFETIME_SECONDS)
        if now.pace < need and redis_client.client().set(
            _REPORTED, 1, nx=True, ex=_REPORT_AGAIN_SECONDS
        ):
            logger.error("pace_below_need pace=%.2f need=%.2f", now.pace, need)
    except redis.RedisError as error:
        logger.warning("pace_unknown reason=%s", type(error).__name__)
