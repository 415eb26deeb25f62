"""Which checks there are, and how each is carried out.

A check runs in a thread of its own, which is left behind when its time is over: no time-out of a
driver bounds everything that a server, a pooler or a resolver can do.
"""

import threading
from collections.abc import Iterable

import redis
from django.db import Error, NotSupportedError, ProgrammingError, connections
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError as BrokerError

from spotify_auth.conf import settings
from spotify_auth.doctor import (
    background,
    database,
    kept_history,
    project,
    redis_server,
    spotify,
    stored_keys,
)
from spotify_auth.doctor.findings import Check, Finding, problem
from spotify_auth.doctor.redaction import redacted
from spotify_auth.text import one_line

LONGEST_WORDS = 300
_NOT_GRANTED = "42501"
"""PostgreSQL's code for a right that is missing."""

CHECKS = (
    Check(name="settings", look=project.look_at_settings),
    Check(name="checks", look=project.look_at_system_checks),
    Check(name="redirect-uri", look=project.look_at_redirect_uri),
    Check(name="site", look=project.look_at_site),
    Check(name="postgresql", look=database.look_at_postgresql, asks="PostgreSQL"),
    Check(name="migrations", look=database.look_at_migrations, asks="PostgreSQL"),
    Check(name="redis", look=redis_server.look_at_redis, asks="Redis"),
    Check(name="queues", look=background.look_at_queues, asks="Redis"),
    Check(name="workers", look=background.look_at_workers, asks="PostgreSQL"),
    Check(name="sweep", look=background.look_at_sweep, asks="PostgreSQL"),
    Check(name="pause", look=background.look_at_pause, asks="Redis"),
    Check(name="freshness", look=background.look_at_freshness, asks="PostgreSQL"),
    Check(name="history", look=kept_history.look_at_history, asks="PostgreSQL"),
    # Reads every row: a second for a million.
    Check(name="keys", look=stored_keys.look_at_keys, asks="PostgreSQL or Redis", seconds=120.0),
    Check(
        name="credentials",
        look=spotify.look_at_credentials,
        asks="Spotify",
        asks_spotify=True,
        seconds=30.0,
    ),
    Check(name="clock", look=spotify.look_at_clock, asks="Spotify", asks_spotify=True),
)


def all_checks() -> list[Check]:
    """Those of this app, then the project's. Raises ImportError for a wrong DOCTOR_CHECKS."""
    return [*CHECKS, *(import_string(path) for path in settings.DOCTOR_CHECKS)]


def examine(check: Check) -> list[Finding]:
    """What a check finds within its time. Raises nothing, and shows no secret."""
    found: list[Finding] = []
    thread = threading.Thread(target=_look, args=(check, found), daemon=True)
    thread.start()
    thread.join(check.seconds)
    seen = list(found)
    if thread.is_alive():
        whom = check.asks or "what it asks"
        seen.append(
            problem(
                f"No answer within {check.seconds:g} s.",
                f"Look whether {whom} is up: it takes connections, and then says nothing.",
            )
        )
    return [redacted(each) for each in seen]


def _look(check: Check, found: list[Finding]) -> None:
    try:
        _add(found, check.look())
    except Exception as error:
        found.append(_failure(check, error))
    finally:
        connections.close_all()  # those of this thread


def _add(found: list[Finding], seen: Iterable[Finding]) -> None:
    for each in seen:  # one by one: what was found before a failure counts
        found.append(each)


def _failure(check: Check, error: Exception) -> Finding:
    words = f"{type(error).__name__}: {one_line(str(error))[:LONGEST_WORDS]}"
    if isinstance(error, NotSupportedError):  # Django asks for the version as it connects
        return problem(f"PostgreSQL is too old. {words}", "Upgrade it.")
    if getattr(error.__cause__, "sqlstate", None) == _NOT_GRANTED:
        return problem(
            f"PostgreSQL does not allow the question. {words}",
            "Grant the role of DATABASE_URL its rights: "
            "docs/how-to/make-the-history-append-only.md has the statements.",
        )
    if isinstance(error, ProgrammingError):
        return problem(f"PostgreSQL refuses the question. {words}", "Run `manage.py migrate`.")
    if isinstance(error, Error):
        return problem(
            f"PostgreSQL does not answer. {words}",
            "Look whether it is up, and whether its address, user and password are right.",
        )
    if isinstance(error, redis.exceptions.NoPermissionError):
        return problem(
            f"Redis does not allow the question. {words}",
            "Let the user of REDIS_URL do everything with every key (ACL SETUSER): Celery's "
            "queues are there too.",
        )
    if isinstance(error, redis.RedisError):
        return problem(
            f"Redis does not answer. {words}",
            "Look whether it is up, and whether REDIS_URL and its password are right.",
        )
    if isinstance(error, BrokerError):
        return problem(
            f"The broker does not answer. {words}",
            "Look whether it is up, and whether its address, user and password are right.",
        )
    return problem(
        f"The check itself failed. {words}",
        f"Report it, and leave the check out until then: --skip {check.name}.",
    )
