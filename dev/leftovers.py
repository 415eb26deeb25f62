"""End the processes that a killed run left behind. A mark in their environment names them."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

from dev.process import LOCAL

_MARK = "STARTED_BY_MAKE_RUN"
_SECONDS = 20


def mark_children() -> None:
    """Put the mark of this clone into the environment of all child processes."""
    os.environ[_MARK] = str(LOCAL)


def end_leftovers() -> None:
    """End the processes that an earlier run of this clone started, and no others.

    Called by the holder of the run's lock, before it starts anything: a process with the
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
