"""One `make run` at a time in a clone."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dev.process import LOCAL, make_local


@contextmanager
def only_run_of_this_clone() -> Iterator[None]:
    """Hold the clone's lock. Raises SystemExit with one line when a run holds it."""
    make_local()
    with (LOCAL / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("`make run` is running in this clone already.")
        yield
