"""End the processes that a killed run left behind. A mark in their environment names them."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

from dev.process import LOCAL

MARK = "STARTED_BY_MAKE_RUN"
"""The variable that all processes of a run have. Its value is LOCAL, one for each clone."""
_SECONDS = 20


def mark_children() -> None:
    """Put the mark of this clone into the environment of all child processes."""
    os.environ[MARK] = str(LOCAL)


def end_leftovers() -> None:
    """End the processes that an earlier run of this clone started, and no others.

    Called by the holder of the run's lock, before it starts anything: a process with the
    mark then belongs to no living run.
    """
    found = {process.pid: process for process in marked()}
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


def marked() -> Iterator[psutil.Process]:
    """The processes that a run of this clone has started, but this one."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(LOCAL) and process.pid != os.getpid():
                yield process
