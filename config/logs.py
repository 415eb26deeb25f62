"""The log of all processes: web, worker, beat and management commands.

https://docs.djangoproject.com/en/5.2/topics/logging/
"""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from logging.config import dictConfig
from types import TracebackType
from typing import Any

from config.log_lines import JsonLines

FORMATS = ("text", "json")

logger = logging.getLogger(__name__)


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    """What `dictConfig` takes; `style` is one of FORMATS."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": "config.log_lines.TextLines"},
            "json": {"()": "config.log_lines.JsonLines"},
        },
        "filters": {
            "once_per_outage": {"()": "spotify_auth.redis_health.OncePerOutage"},
            "strangers_host": {"()": "config.strangers_host.StrangersHost"},
            "one_line_an_outage": {"()": "config.outage_lines.OneLineAnOutage"},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": style,
                "filters": ["once_per_outage"],
            }
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # urllib3 writes request lines at DEBUG, and redis its commands: never ours to show.
            **{name: {"level": "INFO"} for name in ("requests", "redis", "kombu")},
            # At WARNING it writes headers that are none, and the whole address that was called.
            "urllib3": {"level": "ERROR"},
            # Three lines for each sweep, a sweep every few seconds: our own say what changed.
            **{
                name: {"level": "WARNING", "filters": ["one_line_an_outage"]}
                for name in ("celery.app.trace", "celery.beat", "celery.worker.strategy")
            },
            # Each lane and each attempt to reconnect has a line while a server is lost.
            **{
                name: {"filters": ["one_line_an_outage"]}
                for name in ("celery.worker.consumer.consumer", "spotify_auth.refresh.lanes")
            },
            # Anybody may send one: a line, no traceback, and nothing to be called at night for.
            "django.security.DisallowedHost": {"filters": ["strangers_host"]},
            # runserver's request lines carry the query, and the log-in callback's the code.
            "django.server": {"handlers": [], "level": "CRITICAL", "propagate": False},
            # gunicorn gives them handlers of its own, with formats of its own.
            **{
                name: {"handlers": [], "propagate": True}
                for name in ("gunicorn.error", "gunicorn.access")
            },
            # With DEBUG Django writes each of its lines a second time, with no format.
            "django": {"handlers": []},
        },
    }


def configure(config: Mapping[str, Any]) -> None:
    """Begin to log so. As JSON also what Python writes by itself: each line is an object."""
    dictConfig(dict(config))
    if config["handlers"]["console"]["formatter"] == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread


def say_as_json(message: str, stream: Any = None) -> None:
    """A line of Celery's signal handlers, without a lock, in one write."""
    record = logging.LogRecord("celery.worker", logging.INFO, "", 0, message, None, None)
    os.write(sys.__stderr__.fileno(), f"{JsonLines().format(record)}\n".encode())  # type: ignore[union-attr]


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger.critical("uncaught reason=%s", kind.__name__, exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
