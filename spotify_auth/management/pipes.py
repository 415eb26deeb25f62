"""The end of a command that nobody reads any more, as in `manage.py … | head`, or that is ended."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper

READER_LEFT = 128 + signal.SIGPIPE
"""The exit code that a shell shows for other programs that end so."""
INTERRUPTED = 128 + signal.SIGINT
"""The same for Ctrl-C."""


@contextmanager
def reader_may_leave(out: OutputWrapper) -> Iterator[None]:
    """End without a traceback. Raises SystemExit when the reader has left, or at Ctrl-C."""
    try:
        try:
            yield
        finally:
            out.flush()  # not at the interpreter's end, where nobody can catch what it raises
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes what is left in the buffer: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_LEFT)
