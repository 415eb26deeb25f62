"""One refresh at a time, each by a lane of its own."""

from spotify_auth.models import Outcome
from spotify_auth.refresh import refresher
from spotify_auth.refresh.lane import Lane


def refresh_next() -> Outcome | None:
    """Refresh the most urgent due token; what the lane reports."""
    with Lane() as lane:
        return refresher.refresh_next(lane)
