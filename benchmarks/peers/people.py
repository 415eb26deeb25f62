"""Run in a contestant's own environment: make its users, log them in, read its store.

    python -m benchmarks.peers.people prepare NAMES      migrate, log in, time reading
    python -m benchmarks.peers.people log-in SESSIONS    fresh tokens for all users
    python -m benchmarks.peers.people stored SESSIONS    their refresh tokens

NAMES is a JSON list of the sandbox's users, SESSIONS the object that `prepare` answers. Answers
are JSON on standard output.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from statistics import median
from typing import Any

import django
import requests
from django.conf import settings

django.setup()

from django.contrib.auth import (  # noqa: E402  (needs the settings)
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
)
from django.contrib.auth.models import AbstractUser  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest  # noqa: E402

adapter = import_module(os.environ["CONTESTANT_MODULE"])

READS = 1000


def prepare(names: list[str]) -> dict[str, Any]:
    """Sessions by name, and what one read of a token costs in this process, in seconds."""
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # applications without migrations
    requests_of = {}
    for name, answer in connect(names).items():
        user = adapter.user_for(name, answer)
        request = as_person(user, new_session(user))
        log_in(request, {**answer, "expires_in": 3600})
        requests_of[name] = request
    keys = {name: str(request.session.session_key) for name, request in requests_of.items()}
    people = [(request.user, keys[name]) for name, request in requests_of.items()]
    for user, key in people:  # connections and imports are not measured
        adapter.read(as_person(user, key))
    times = []
    for n in range(READS):
        request = as_person(*people[n % len(people)])
        started = time.perf_counter()
        adapter.read(request)
        times.append(time.perf_counter() - started)
    # The median: other work on the machine is not what is measured.
    return {"sessions": keys, "read_seconds": median(times)}


def log_in_all(sessions: Mapping[str, str]) -> dict[str, Any]:
    """Everybody logs in again, each token as old as its answer."""
    for name, key in sessions.items():
        ((_, answer),) = connect([name]).items()
        log_in(as_person(adapter.user_for(name, answer), key), answer)
    return {}


def stored(sessions: Mapping[str, str]) -> dict[str, str]:
    """The refresh token of each user, as the contestant stores it."""
    answers = connect(list(sessions))  # a further grant: those in the store stay as they are
    return {
        name: adapter.stored_refresh_token(as_person(adapter.user_for(name, answers[name]), key))
        for name, key in sessions.items()
    }


def connect(names: list[str]) -> dict[str, dict[str, Any]]:
    """Approve on the sandbox; its token answers by name."""
    response = requests.post(
        f"{settings.SPOTIFY_ACCOUNTS_URL}/__connect", json={"users": names}, timeout=10
    )
    response.raise_for_status()
    answers: dict[str, dict[str, Any]] = response.json()["users"]
    return answers


def log_in(request: HttpRequest, answer: Mapping[str, Any]) -> None:
    """Store what was granted; the session is saved as its middleware would."""
    adapter.save_login(request, answer)
    request.session.save()


def new_session(user: AbstractUser) -> str:
    """A session that Django takes for this user's."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    assert session.session_key
    return session.session_key


def as_person(user: Any, session_key: str) -> HttpRequest:
    """A request as the middleware hands it to a page: the session is not read yet."""
    request = HttpRequest()
    request.user = user
    request.session = SessionStore(session_key)
    return request


def main(command: str, argument: str) -> None:
    """One of the three commands; the argument is JSON."""
    commands: dict[str, Callable[[Any], object]] = {
        "prepare": prepare,
        "log-in": log_in_all,
        "stored": stored,
    }
    json.dump(commands[command](json.loads(argument)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
