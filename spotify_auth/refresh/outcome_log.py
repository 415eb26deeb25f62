"""One line of the log for what became of a token."""

import logging

import redis

from spotify_auth import redis_client
from spotify_auth.figures.traffic import MASS_REFUSAL
from spotify_auth.models import Cause
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import Decision, StoreFailure, StoreGrant
from spotify_auth.refresh.history import Evidence
from spotify_auth.refresh.process import process

logger = logging.getLogger(__name__)


def log_outcome(
    claim: Claim, decision: Decision, seen: Evidence, *, stored: bool, duration: float
) -> None:
    """One line for what became of a token; a postponed row, or one left alone, has none."""
    match decision.write:
        case StoreGrant() | StoreFailure() if not stored:
            # The generation check rejected this result: our connection, and its lock, was
            # lost and another worker has refreshed the token since.
            logger.warning("late_result user_id=%s generation=%s", claim.user_id, claim.generation)
        case StoreGrant(cause=cause, grant=grant):
            if claim.is_appeal:
                logger.warning(
                    "verdict_reversed user_id=%s generation=%s reason=%s",
                    claim.user_id,
                    claim.generation,
                    claim.last_error,
                )
            if cause == Cause.RESCUE:
                logger.warning(
                    "rescue_replayed user_id=%s generation=%s", claim.user_id, claim.generation
                )
            logger.info(
                "refreshed user_id=%s generation=%s rotated=%s cause=%s used=%.0f granted=%s "
                "ms=%.0f",
                claim.user_id,
                claim.generation + 1,
                grant.refresh_token is not None,
                cause,
                claim.lifetime_used,
                grant.expires_in,
                duration * 1000,
            )
        case StoreFailure(error=error, due_in=due_in):
            logger.warning(
                "not_refreshed user_id=%s generation=%s outcome=%s error=%s cause=%s next_in=%.1f",
                claim.user_id,
                claim.generation,
                decision.outcome,
                error,
                claim.cause,
                due_in,
            )
    if not seen.refusals_are_rare and _first_in_a_minute():
        logger.error(
            "mass_refusal refused=%s answered=%s",
            seen.others_refused + 1,
            seen.others_answered + 1,
        )


def _first_in_a_minute() -> bool:
    """Whether no worker has reported it within a minute; without Redis, no thread of this one."""
    try:
        return bool(redis_client.client().set(MASS_REFUSAL, 1, nx=True, ex=60))
    except redis.RedisError:
        return process.mass_refusal.may_report()
