"""`make run` itself: what it says when it cannot start, and that it leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from local.process import ROOT, free_port
from local.run import _own_python
from tests.processes import wait_for

NAMES = ("PORT", "SANDBOX_PORT", "POSTGRES_PORT", "REDIS_PORT")


@pytest.fixture
def ports() -> dict[str, str]:
    return {name: str(free_port()) for name in NAMES}


@pytest.fixture(autouse=True)
def local_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Data of its own: somebody may be using this clone. All users can reach it."""
    directory = Path(tempfile.mkdtemp(prefix="a space "))
    directory.chmod(0o755)
    monkeypatch.setenv("LOCAL_DIRECTORY", str(directory))
    yield
    shutil.rmtree(directory)


def start(ports: dict[str, str], **environment: str) -> subprocess.Popen[str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LOCAL_DIRECTORY") if name in os.environ
    }
    return subprocess.Popen(
        [sys.executable, "-m", "local.run"],
        env={**kept, "ENV_FILE": os.devnull, **ports, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def running(ports: dict[str, str], local_directory: None) -> Iterator[subprocess.Popen[str]]:
    run = start(ports)
    yield run
    if run.poll() is None:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=40)


@pytest.mark.parametrize("name", NAMES)
def test_a_taken_port_is_named_with_the_variable_that_changes_it(
    ports: dict[str, str], name: str
) -> None:
    with socket.create_server(("127.0.0.1", int(ports[name]))):
        output, _ = start(ports).communicate(timeout=20)

    lines = output.strip().splitlines()
    assert len(lines) == 1
    assert f"Port {ports[name]} for" in lines[0]
    assert f"set {name} to another one" in lines[0]


def test_a_malformed_port_is_named(ports: dict[str, str]) -> None:
    output, _ = start({**ports, "PORT": "http"}).communicate(timeout=20)

    assert output.strip() == "PORT is malformed: set it to a port number, 1 to 65535."


def test_runs_the_whole_service_and_leaves_no_process(
    ports: dict[str, str], running: subprocess.Popen[str]
) -> None:
    site = f"http://127.0.0.1:{ports['PORT']}/"
    assert running.stdout
    for line in running.stdout:
        if f"open {site.rstrip('/')}" in line:
            break
    second, _ = start({name: str(free_port()) for name in NAMES}).communicate(timeout=20)
    family = psutil.Process(running.pid).children(recursive=True)

    assert requests.get(site, timeout=5).ok
    assert second.strip() == "`make run` is running in this clone already."
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=40)

    assert running.returncode == 0
    assert "Traceback" not in output
    wait_for(lambda: not any(child.is_running() for child in family), what="all to be gone")
    assert len(family) >= 8  # PostgreSQL, Redis, sandbox, web, worker, beat and their helpers


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ("python manage.py migrate", " manage.py migrate"),
        ("celery -A config beat", " -m celery -A config beat"),
    ],
)
def test_procfile_lines_run_under_this_very_python(line: str, ends: str) -> None:
    assert _own_python(line).endswith(ends)
