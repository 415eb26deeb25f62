"""A request for a host that is not served, in one line."""

import logging


class StrangersHost(logging.Filter):
    """Makes Django's ERROR with a traceback a WARNING without: a scanner sends hundreds."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always shown."""
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = record.exc_text = None
        return True
