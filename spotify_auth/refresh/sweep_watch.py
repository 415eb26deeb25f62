"""A worker that sees no sweep for three intervals sweeps itself.

Beat sends nothing while it is down, and nothing for an hour after its host's clock was set
back by an hour. Each worker looks whether the count of sweeps in PostgreSQL still grows, and
measures the time between by its own monotonic clock, which nobody sets. The same thread, with
the same short connection, leaves the worker's sign of life.
"""

import logging
import threading
import time
from datetime import timedelta

from django.db import Error, connection

from spotify_auth import chores, freshness
from spotify_auth.conf import settings
from spotify_auth.database_faults import leave_standby
from spotify_auth.figures import samples
from spotify_auth.lasting import Lasting
from spotify_auth.lost_servers import LOST
from spotify_auth.models import Chore
from spotify_auth.notices import pauses
from spotify_auth.presence import Sign
from spotify_auth.refresh import lanes, need
from spotify_auth.refresh.process import process
from spotify_auth.webhooks import dispatch

logger = logging.getLogger(__name__)


def sweep() -> None:
    """Open lanes for what is due, and enqueue the chores that are due, because beat says so."""
    try:
        _sweep_as(chores.SWEEP, every=timedelta(0))
    except LOST as error:
        _failures.note(error)
    else:
        _failures.clear()


class _Failures:
    """Whether sweeps of this process fail: one line when they begin to, one when they end."""

    def __init__(self) -> None:
        self._failing = Lasting()

    def note(self, error: Exception) -> None:
        """A sweep failed; the next one comes after an interval, not on a demoted server."""
        leave_standby(error)
        if self._failing.begins():
            logger.error("sweep_failed reason=%s", type(error).__name__)

    def clear(self) -> None:
        """A sweep went well."""
        if self._failing.ends():
            logger.warning("sweep_works")


_failures = _Failures()


def _show(sign: Sign) -> None:
    try:
        sign.show(lanes_running=process.running.count)
    finally:
        connection.close()  # in between it would be one more for PostgreSQL to hold


def _sweep_as(name: str, *, every: timedelta) -> bool:
    """Sweep, unless another process has just done so under this name; whether it did.

    A sweep that fails renews nothing: it leaves the time of the one before.
    """
    done_at = Chore.objects.filter(name=name).values_list("done_at", flat=True).first()
    if not chores.take(name, every=every):
        return False
    try:
        _sweep()
    except LOST:
        chores.give_back(name, done_at=done_at)
        raise
    return True


def _sweep() -> None:
    try:
        samples.take_sample()  # before lanes change what it looks at
    except Error as error:  # tokens are refreshed all the same
        logger.warning("freshness_not_sampled reason=%s", type(error).__name__)
    lanes.open_lanes()
    need.report()
    chores.enqueue_due()
    pauses.look()
    dispatch.dispatch()


class SweepWatch:
    """What one worker process has seen of beat's sweeps."""

    def __init__(self) -> None:
        self._count: int | None = None
        self._seen_at = time.monotonic()
        self._missed = False
        self._thread: threading.Thread | None = None

    def start(self, sign: Sign) -> None:
        """Look once an interval, in a thread of its own, until the process stops."""
        self._thread = threading.Thread(
            target=self._run, args=(sign,), name="sweep-watch", daemon=True
        )
        self._thread.start()

    def end(self, *, within: float) -> None:
        """The process ends: wait for its sign to be taken away, for so many seconds at most."""
        process.stopping.set()
        if self._thread:
            self._thread.join(within)

    def _run(self, sign: Sign) -> None:
        _show(sign)
        while not process.stopping.wait(settings.REFRESH_SWEEP_SECONDS):
            try:
                if self.look():
                    _failures.clear()
            except LOST as error:
                _failures.note(error)
            _show(sign)
        sign.remove()
        connection.close()

    def look(self) -> bool:
        """Sweep if beat's sweeps stay away and no other worker has just done so; whether it did.

        Raises django.db.Error, and kombu's OperationalError without a broker.
        """
        count = Chore.objects.filter(name=chores.SWEEP).values_list("times", flat=True).first()
        if count != self._count:
            if self._missed:
                logger.warning("sweep_seen")
            self._count, self._seen_at, self._missed = count, time.monotonic(), False
            return False
        interval, silence = settings.REFRESH_SWEEP_SECONDS, time.monotonic() - self._seen_at
        if silence < freshness.MISSED_INTERVALS * interval:
            return False
        if not self._missed:
            logger.warning("sweep_missed seconds=%.0f look_at=beat", silence)
            self._missed = True
        return _sweep_as(chores.OWN_SWEEP, every=timedelta(seconds=interval * 0.9))
