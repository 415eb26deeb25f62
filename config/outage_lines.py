"""One readable line for a lost Redis or PostgreSQL, where Celery prints a traceback a second."""

import logging
import re
import time

from spotify_auth.lost_servers import LOST

REPEAT_SECONDS = 60.0


class OneLineAnOutage(logging.Filter):
    """Take the traceback off a line about a lost server, and drop its repetitions.

    The traceback of any other error stays. A line is repeated at most once a minute
    (monotonic clock), so that a log that is looked at later still shows how long the outage was.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown."""
        if record.levelno < logging.WARNING:
            return True
        kind = str(record.msg)
        if lost := _lost(record):
            record.msg = f"{record.getMessage().splitlines()[0]} reason={type(lost).__name__}"
            record.args, record.exc_info, record.exc_text = None, None, None
        elif not record.exc_info:
            # Celery's "Cannot connect to …" has three lines, and counts its attempts.
            record.msg, record.args = " ".join(record.getMessage().split()), None
            kind = re.sub(r"\d+", "", record.msg)
        key, now = (record.name, kind), time.monotonic()
        if now - self._shown.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS and not record.exc_info:
            return False
        self._shown[key] = now
        return True


def _lost(record: logging.LogRecord) -> BaseException | None:
    """The lost server behind a line with a traceback, if it is one."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None and not isinstance(error, LOST):
        error = error.__cause__ or error.__context__
    return error
