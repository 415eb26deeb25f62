"""LOG_FORMAT=json in real processes: one object a line, and a page's id in the worker's line."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore

from accounts.models import User
from config import log_context
from dev.debian import Unavailable, find_or_fetch
from dev.process import ROOT, free_port
from tests.support.processes import (
    LocalProcess,
    beat_process,
    json_lines,
    teardown_together,
    wait_for,
    web_process,
    worker_process,
)
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import connect_users, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

PAGE = "request-of-the-page"
SHAPE = {"timestamp", "level", "logger", "process", "thread"}


@pytest.fixture
def lifetime() -> int:
    """So long that sweeps may be rare: the nudge's own task finds the token first."""
    return 1200


@pytest.fixture
def environment(service_env: dict[str, str]) -> dict[str, str]:
    return {
        **service_env,
        "LOG_FORMAT": "json",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "1",
        "REFRESH_SWEEP_SECONDS": "20",
        "TRUSTED_PROXIES": "127.0.0.0/8",
    }


@pytest.fixture
def processes(environment: dict[str, str]) -> Iterator[dict[str, LocalProcess]]:
    """A web process, a worker, and a beat that does not find its broker."""
    lonely = {"REDIS_URL": "redis://127.0.0.1:9/0", "REFRESH_SWEEP_SECONDS": "0.2"}
    started = {
        "web": web_process("web", env=environment),
        "worker": worker_process("worker", env=environment, concurrency=2),
        "beat": beat_process("beat", env=environment | lonely),
    }
    try:
        for process in started.values():
            process.ready()
        yield started
    finally:
        teardown_together(started.values())


def waits_for(process: LocalProcess, **fields: object) -> dict[str, Any]:
    """The line with these fields, once it is there."""

    def found() -> list[dict[str, Any]]:
        complete = process.logs().rpartition("\n")[0]
        return [line for line in json_lines(complete) if fields.items() <= line.items()]

    wait_for(found, what=str(fields))
    return found()[0]


def log_in(user: User) -> dict[str, str]:
    """The cookie of a session."""
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session["_auth_user_backend"] = settings.AUTHENTICATION_BACKENDS[0]
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session.create()
    return {settings.SESSION_COOKIE_NAME: str(session.session_key)}


def examples() -> list[str]:
    """The commands of docs/how-to/operate.md."""
    section = (ROOT / "docs/how-to/operate.md").read_text().split("## Read the log as JSON\n")[1]
    block = section.split("```sh\n")[1].split("```")[0]
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def run_in(directory: Path, command: str) -> str:
    """What a command of the documentation prints."""
    try:
        jq = find_or_fetch("jq", package="jq")
    except Unavailable as error:
        pytest.skip(str(error))
    path = f"{jq.path.parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env={**jq.env, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout


def test_every_line_is_an_object_and_a_page_is_found_in_the_workers_log(
    processes: dict[str, LocalProcess],
    environment: dict[str, str],
    fast_sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    web, worker, beat = (processes[name] for name in ("web", "worker", "beat"))
    site = f"http://127.0.0.1:{environment['PORT']}"
    user, other = connect_users(fast_sandbox, 2)
    for each in (user, other):
        make_due(each, expired=True)

    answer = requests.get(
        f"{site}/dashboard/", cookies=log_in(user), headers={"X-Request-ID": PAGE}, timeout=20
    )
    assert answer.headers["X-Request-ID"] == PAGE
    hostile = requests.get(
        f'{site}/no"}}\u2028such', headers={"X-Request-ID": '"},{"event":"forged"'}, timeout=20
    )
    refreshed = waits_for(worker, event="refreshed", user_id=user.pk)
    broker = Celery(broker=environment["REDIS_URL"], set_as_current=False)
    log_context.end()  # this process may have served a request in another test
    broker.send_task("spotify_auth.lane", queue="lanes", headers={"request_id": "of a\nstranger"})
    of_lane = waits_for(worker, event="refreshed", user_id=other.pk)
    broker.send_task("spotify_auth.refresh", queue="keeper", args=["nobody", "\n"])
    failed = waits_for(worker, logger="celery.app.trace", level="ERROR")
    waits_for(beat, level="ERROR")
    for process in processes.values():
        process.stop()

    logs = {name: process.logs() for name, process in processes.items()}
    for name, log in logs.items():
        lines = json_lines(log)
        assert lines, name
        assert all(line.keys() >= SHAPE for line in lines), name
        assert all(("event" in line) is not ("message" in line) for line in lines), name
    assert token_of(user).generation == 2
    # From the page to the worker: by its id alone.
    nudged = waits_for(web, event="nudged", user_id=user.pk)
    request = waits_for(web, event="request", path="/dashboard/")
    assert {line["request_id"] for line in (nudged, request, refreshed)} == {PAGE}
    assert (refreshed["generation"], refreshed["cause"]) == (2, "stale_read")
    assert re.fullmatch(r"[0-9a-f-]{36}", refreshed["task_id"])
    assert refreshed["worker"] == "worker@localhost"
    # A lane has its task's id, and believes no header that is not one.
    assert re.fullmatch(r"[0-9a-f-]{36}", of_lane["task_id"])
    assert "request_id" not in of_lane
    assert "Traceback" in failed["exception"]
    # Django's line about the hostile address, and the web server's.
    strange = [line for line in json_lines(logs["web"]) if line.get("status") == 404]
    assert [line["request_id"] for line in strange] == [hostile.headers["X-Request-ID"]]
    not_found = waits_for(web, logger="django.request", level="WARNING")
    assert not_found["request_id"] == hostile.headers["X-Request-ID"]
    for name, log in logs.items():
        (tmp_path / f"{name}.log").write_text(log)
    of_page, unwell, ends, *_ = [run_in(tmp_path, example) for example in examples()]
    assert {"nudged", "request", "refreshed"} <= {line.get("event") for line in json_lines(of_page)}
    assert {line["request_id"] for line in json_lines(of_page)} == {PAGE}
    assert all(line["level"] != "INFO" for line in json_lines(unwell))
    assert "Traceback" in unwell
    assert ends.split() == ["2", "refreshed"]
