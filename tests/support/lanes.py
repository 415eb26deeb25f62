"""One refresh at a time, each by a lane of its own; or lanes that work beside a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGCONT, SIGSTOP

from django.db import connection as database
from django.db.models.functions import Now

from accounts.models import User
from spotify_auth.chores import SWEEP
from spotify_auth.models import Chore, Outcome
from spotify_auth.refresh import refresher
from spotify_auth.refresh.lane import Lane
from tests.support.background import Background
from tests.support.processes import LocalProcess, wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import make_due


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


def locked(user: User) -> bool:
    """Whether a lane holds this user's row."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE SKIP LOCKED",
            [user.pk],
        )
        return not cursor.fetchall()


def stopped_before_its_request(
    user: User, *, stop: Callable[[], None], redis: LocalProcess, sandbox: Sandbox
) -> bool:
    """Stop the lane whose exchange is held, between its next claim and the POST of this user.

    Redis hangs for a moment, and `stop` is called once the lane waits for it. False if the moment
    was missed: something else of the worker met the hanging Redis first, and the lane waited for
    it no more.
    """
    make_due(user)
    redis.kill(SIGSTOP)
    try:
        sandbox.release()
        wait_for(lambda: locked(user), what="the claim", seconds=10, every=0.01)
        stop()
    except TimeoutError:
        return False
    finally:
        redis.kill(SIGCONT)
    return bool(sandbox.stats(user.account_id)["refreshes_attempted"] == 0)
