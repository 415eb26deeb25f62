"""When imported tokens are due: many that expired long ago must not be due in one second."""

from datetime import datetime, timedelta

from spotify_auth.conf import settings
from spotify_auth.importing.candidates import Candidate
from spotify_auth.schedule import smallest_margin

DEFAULT_MINUTES = 10.0
LONGEST_MINUTES = 24 * 60.0


def due_at(
    found: Candidate, *, now: datetime, spread: timedelta, fraction: float
) -> datetime | None:
    """When a token is due; None: when its own schedule says.

    One that is due already waits for up to `spread`, but not until it expires; so does one whose
    scopes are not known, for a refresh brings them. A page that needs a token before then has it
    refreshed at once.
    """
    left = (found.expires_at - now) if found.expires_at else timedelta(0)
    margin = timedelta(seconds=smallest_margin(settings.ACCESS_TOKEN_LIFETIME_SECONDS))
    if left > 2 * margin and found.scope:
        return None
    if timedelta(0) < left:
        spread = max(min(spread, left - margin), timedelta(0))
    return now + spread * fraction
