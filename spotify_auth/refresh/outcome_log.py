"""One line of the log for what became of a token."""

import logging

from spotify_auth.models import Cause
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import Decision, StoreFailure, StoreGrant

logger = logging.getLogger(__name__)


def log_outcome(claim: Claim, decision: Decision, *, stored: bool, duration: float) -> None:
    """One line for what became of a token; a postponed row, or one left alone, has none."""
    match decision.write:
        case StoreGrant() | StoreFailure() if not stored:
            # The generation check rejected this result: our connection, and its lock, was
            # lost and another worker has refreshed the token since.
            logger.warning("late_result user_id=%s generation=%s", claim.user_id, claim.generation)
        case StoreGrant(cause=cause, grant=grant):
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
