"""The end of a command whose output nobody reads any more, as in `manage.py … | head`."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper

READER_LEFT = 128 + signal.SIGPIPE
"""The exit code that a shell shows for other programs that end so."""


@contextmanager
def reader_may_leave(out: OutputWrapper) -> Iterator[None]:
    """End quietly, without a traceback. Raises SystemExit when the reader has left."""
    try:
        try:
            yield
        finally:
            out.flush()  # not at the interpreter's end, where nobody can catch what it raises
    except BrokenPipeError:
        # The interpreter flushes what is left in the buffer: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_LEFT)
