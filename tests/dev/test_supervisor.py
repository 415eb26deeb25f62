"""When and how the processes of a run stop, tried on processes that start in no time."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dev.process import ROOT, free_port
from dev.supervisor import own_python
from tests.support.processes import wait_for

SCRIPT = """
import os, sys
from pathlib import Path
from dev.server import Server
from dev.supervisor import supervise

name, log, port, other = sys.argv[1:]
sleep = "import time; print('awake', flush=True); time.sleep(60)"
server = Server("redis", [sys.executable, "-c", sleep], log=Path(log), cwd=Path("/"))
procfile = {"web": f"python -m http.server --bind 127.0.0.1 {port}", "beat": f"python -c {other}"}
env = {**os.environ, "HOST": "0.0.0.0", "PORT": port, "http_proxy": "http://127.0.0.1:1"}
code = supervise(procfile, env=env, servers=[server])
print("server", server.returncode, flush=True)
server.stop()
sys.exit(code)
"""
SLEEP = "'import time; time.sleep(60)'"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a supervisor with one server and two processes; the second runs `beat`."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(beat: str = SLEEP, output: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        run = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, "x", tmp_path / "log", str(free_port()), beat],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(run)
        return run

    yield start_one
    for run in started:
        run.terminate()
        run.communicate(timeout=60)


def children(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All that a run has started, once it says that it is up."""
    assert run.stdout
    while b"is running: open http://127.0.0.1:" not in run.stdout.readline():
        assert run.poll() is None
    return psutil.Process(run.pid).children(recursive=True)


def child(processes: list[psutil.Process], beginning: str) -> psutil.Process:
    arguments = {" ".join(each.cmdline()[1:]): each for each in processes}
    return next(arguments[text] for text in arguments if text.startswith(beginning))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_processes_and_leaves_the_servers_to_the_caller(
    start: Start, number: signal.Signals
) -> None:
    run = start()
    processes = children(run)
    run.send_signal(number)
    output = run.communicate(timeout=60)[0]

    assert run.returncode == 0
    assert b"Traceback" not in output
    # After a SIGHUP there is no terminal to write to.
    assert (b"server None" in output) == (number != signal.SIGHUP)
    assert not [each for each in processes if each.is_running()]


def test_a_signal_that_comes_while_the_processes_start_is_not_lost(start: Start) -> None:
    run = start()
    wait_for(lambda: psutil.Process(run.pid).children(), what="the server to start")
    wait_for(lambda: len(psutil.Process(run.pid).children()) > 1, what="the first process")
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=60)[0]

    assert run.returncode == 0
    assert b"Traceback" not in output


@pytest.mark.parametrize(
    ("beat", "code"),
    [
        ("'raise SystemExit(3)'", 3),
        ("'import os; os.abort()'", 128 + signal.SIGABRT),
        ("''", 1),  # ended without an error, but it should not have ended
    ],
)
def test_a_process_that_ends_stops_the_others_and_gives_its_code(
    start: Start, beat: str, code: int
) -> None:
    run = start(beat)
    output = run.communicate(timeout=60)[0]

    assert run.returncode == code
    assert b"sending SIGTERM to web" in output


def test_a_server_that_ends_stops_the_processes_and_gives_its_code(start: Start) -> None:
    run = start()
    processes = children(run)
    child(processes, "-c import time; print").kill()
    output = run.communicate(timeout=60)[0]

    assert run.returncode == 128 + signal.SIGKILL
    assert b"redis  | ended (rc=-9)" in output
    assert not [each for each in processes if each.is_running()]


def test_nothing_outlives_a_supervisor_that_is_killed(start: Start) -> None:
    run = start()
    processes = children(run)
    run.kill()

    wait_for(lambda: not any(each.is_running() for each in processes), what="all to end")


def test_what_a_server_writes_is_shown_under_its_name(start: Start, tmp_path: Path) -> None:
    run = start()
    children(run)
    with (tmp_path / "log").open("a") as log:
        log.write("out of memory\n")
    assert run.stdout

    assert b"redis  | " in next(line for line in run.stdout if b"out of memory" in line)


def test_a_reader_that_goes_away_is_a_ctrl_c(start: Start) -> None:
    run = start()
    processes = children(run)
    assert run.stdout
    run.stdout.close()
    run.stdout = None
    # The next line finds no reader: honcho says that web has stopped.
    child(processes, "-m http.server").terminate()

    assert run.wait(timeout=60) == 0
    assert not [each for each in processes if each.is_running()]


def test_a_terminal_that_closes_is_a_ctrl_c(start: Start) -> None:
    ours, theirs = pty.openpty()
    run = start(output=theirs)
    os.close(theirs)
    seen = b""
    while b"is running: open" not in seen or b"\033[" not in seen:  # coloured, as at a terminal
        seen += os.read(ours, 4096)
    processes = psutil.Process(run.pid).children(recursive=True)
    os.close(ours)
    run.send_signal(signal.SIGHUP)

    assert run.wait(timeout=60) == 0
    assert not [each for each in processes if each.is_running()]


@pytest.mark.parametrize(
    ("line", "ends"),
    [
        ("python manage.py migrate", " manage.py migrate"),
        ("celery -A config beat", " -m celery -A config beat"),
    ],
)
def test_procfile_lines_run_under_this_very_python(line: str, ends: str) -> None:
    assert own_python(line).endswith(ends)
