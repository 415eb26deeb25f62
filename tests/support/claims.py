"""Claims and attempts as lanes have them, without a lane."""

from datetime import UTC, datetime

from spotify_auth.refresh.attempts import Attempt, Attempts
from spotify_auth.refresh.claims import Claim


def claim_of(user_id: int = 1, generation: int = 1, **changes: object) -> Claim:
    """A claim as PostgreSQL would have given it, and no lock behind it."""
    now = str(datetime.now(UTC))
    values: dict[str, object] = {
        "user_id": user_id,
        "generation": generation,
        "sealed_refresh_token": b"sealed",
        "cause": "schedule",
        "requested_by": "",
        "failures": 0,
        "suspected_for": None,
        "status": "active",
        "appeals": 0,
        "last_error": "",
        "lifetime": 3600.0,
        "lifetime_used": 2700.0,
        "claimed_at": now,
        "six_months_over": False,
        "waited": 5.0,
        "deactivated": False,
        "due_at": now,
    }
    return Claim(**{**values, **changes})  # type: ignore[arg-type]


def begin(user_id: int = 1, generation: int = 1, *, lane: Attempts | None = None) -> Attempt:
    """Begin an attempt that does not end: its worker hangs, or was killed."""
    return (lane or Attempts()).track(claim_of(user_id, generation)).__enter__()
