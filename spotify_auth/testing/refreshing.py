"""What a worker does, in the process of a test: the lane's own code, one token after the other."""

from datetime import timedelta
from threading import Event

from django.db.models import F

from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresh import refresher
from spotify_auth.refresh.lane import Lane
from spotify_auth.refresh.refresher import PermitComes


def hours_pass(hours: float = 1) -> None:
    """Let each token be this much older: a minute short of an hour leaves it a minute to live.

    Spotify is not told: there `Sandbox.expire_access_tokens` ends the access tokens in use.
    """
    older = timedelta(hours=hours)
    SpotifyToken.objects.update(
        refreshed_at=F("refreshed_at") - older,
        expires_at=F("expires_at") - older,
        due_at=F("due_at") - older,
        suspected_at=F("suspected_at") - older,
    )


def refresh_due_tokens() -> list[str]:
    """Refresh all that is due, as a lane of a worker does; the outcome of each.

    An outcome is `refreshed`, `suspected`, `reconnect_required` or `retry`. Nothing is refreshed
    while all refreshing pauses, after a 429 for example. Raises django.db.Error.
    """
    outcomes: list[Outcome] = []
    with Lane(may_wait=True) as lane:
        while True:
            try:
                outcome = refresher.refresh_next(lane)
            except PermitComes:
                lane.rest(Event())
                continue
            if outcome is None:
                return [str(each) for each in outcomes]
            outcomes.append(outcome)
