"""One refresh at a time, each by a lane of its own; or lanes that work beside a test."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.models.functions import Now

from spotify_auth.chores import SWEEP
from spotify_auth.models import Chore, Outcome
from spotify_auth.refresh import refresher
from spotify_auth.refresh.lane import Lane
from tests.support.background import Background


def refresh_next() -> Outcome | None:
    """Refresh the most urgent due token; what the lane reports."""
    with Lane() as lane:
        return refresher.refresh_next(lane)


def sweep_just_now() -> None:
    """Note a sweep, as beat's tick does."""
    Chore.objects.update_or_create(name=SWEEP, defaults={"done_at": Now()})


class _Lanes(Background):
    def turn(self, thread: int) -> None:
        sweep_just_now()
        while refresh_next():
            pass


@contextmanager
def lanes_beside() -> Iterator[None]:
    """Tokens that are due are refreshed, as by a worker, while the block lasts."""
    sweep_just_now()
    with _Lanes(threads=1, pause=0.05):
        yield
