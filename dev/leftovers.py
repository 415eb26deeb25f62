"""What an earlier run left behind when it was killed: found by a mark, and ended."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

from dev.process import LOCAL

_MARK = "STARTED_BY_MAKE_RUN"
_SECONDS = 20


def mark_children() -> None:
    """Let all that this process starts carry the mark of this clone in its environment."""
    os.environ[_MARK] = str(LOCAL)


def end_leftovers() -> None:
    """End what an earlier run of this clone started, and nothing else.

    Called by the holder of the run's lock, before it starts anything: what carries the
    mark then belongs to no living run.
    """
    found = {process.pid: process for process in _marked()}
    for process in found.values():
        with suppress(psutil.Error):
            # Its children are its own to end. PostgreSQL would wait for clients at SIGTERM.
            if process.ppid() not in found:
                fast = process.name() == "postgres"
                process.send_signal(signal.SIGINT if fast else signal.SIGTERM)
    _, alive = psutil.wait_procs(found.values(), timeout=_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()


def _marked() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == str(LOCAL) and process.pid != os.getpid():
                yield process
