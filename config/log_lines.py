"""How a line of the log is written: for people, or as a JSON object for programs."""

import json
import logging
import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from config import log_context

LONGEST_VALUE = 2_000
LONGEST_TRACEBACK = 8_000
"""Characters. Docker cuts lines at 16 KiB, and half an object is none."""

_OURS = ("spotify_auth.", "accounts.", "config.", "gunicorn.access")
_EVENT = re.compile(r"[a-z][a-z0-9_]*(?: [a-z][a-z0-9_]*=(?:%s|%d|%\.\df|[^\s%]+))*")


class TextLines(logging.Formatter):
    """`time LEVEL logger event key=value …`, with the ids at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The line, before a traceback."""
        ids = log_context.current()
        shown = "".join(f" {key}={ids[key]}" for key in ("request_id", "task_id") if key in ids)
        return super().formatMessage(record) + shown


class JsonLines(logging.Formatter):
    """One object a line, in ASCII.

    Lines of this service have `event` and their fields, each with its type. The names are read
    from the format string that stands in the code, and never from the finished text: a value
    cannot pass for a key, whatever a visitor wrote into it. Lines of libraries have `message`.
    Nothing else of a record is shown: Django hangs the request on it, and Celery the arguments.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The object. Raises nothing but what the record's own arguments do."""
        line: dict[str, Any] = {
            "timestamp": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
        }
        line |= _fields(record) or {"message": _cut(record.getMessage())}
        line |= log_context.current()
        line |= {"process": record.process, "thread": record.threadName}
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _cut(self.formatException(record.exc_info), LONGEST_TRACEBACK)
        if record.stack_info:
            line["stack"] = _cut(record.stack_info, LONGEST_TRACEBACK)
        return json.dumps(line)


def rfc3339(seconds: float) -> str:
    """A Unix time in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def keys_of(line: str) -> list[tuple[str, str]] | None:
    """The keys of a format string, each with what stands behind it; None without our shape.

    The first is `event`. `%s` stands for a value of the line's arguments.
    """
    if not _EVENT.fullmatch(line):
        return None
    event, *pairs = line.split(" ")
    found = [pair.partition("=") for pair in pairs]
    return [("event", event), *((key, value) for key, _, value in found)]


_keys_of = lru_cache(maxsize=1024)(keys_of)


def _fields(record: logging.LogRecord) -> dict[str, Any] | None:
    """The event and its fields, if this is a line of ours; else None."""
    if not record.name.startswith(_OURS) or not isinstance(record.msg, str):
        return None
    keys, given = _keys_of(record.msg), record.args or ()
    if keys is None or not isinstance(given, tuple):
        return None
    if sum(value.startswith("%") for _, value in keys) != len(given):
        return None
    values = iter(given)
    return {
        key: _typed(next(values), value) if value.startswith("%") else value for key, value in keys
    }


def _typed(value: object, conversion: str) -> object:
    """A number, a truth value and None as they are; all else as the text that people see."""
    if isinstance(value, float) and math.isfinite(value) and conversion != "%s":
        digits = int(conversion[2]) if conversion.endswith("f") else 0
        return round(value, digits) if digits else round(value)
    if value is None or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    text = str(value)
    # The quotes of for_the_log, which lets none stand inside.
    return _cut(text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text)


def _cut(text: str, longest: int = LONGEST_VALUE) -> str:
    """A text, or its beginning and its end."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
