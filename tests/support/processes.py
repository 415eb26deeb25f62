"""Real processes for tests, with the interface that pytest-celery expects of a container."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any
from urllib.parse import quote

import psutil
from django.db import connection

from dev.process import ROOT, die_with_parent
from tests.support import warm_python
from tests.support.warm_python import Child


class LocalProcess:
    """A process of this machine where pytest-celery has a Docker container."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        env: Mapping[str, str],
        ready_when: str,
        celeryconfig: Mapping[str, Any] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.celeryconfig = dict(celeryconfig or {})
        self._command = command
        self._cwd = cwd
        self._env = dict(env)
        self._ready_when = ready_when
        self._said: str | None = None
        self._log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log")[1])
        self._process: subprocess.Popen[bytes] | Child | None = None
        _started.append(self)
        self.start()

    @property
    def id(self) -> str:
        """The process id, padded as pytest-celery cuts twelve characters off it."""
        return f"pid{self._process.pid if self._process else 0:09d}"

    @property
    def pid(self) -> int:
        """The process id as the operating system has it."""
        assert self._process
        return self._process.pid

    @property
    def status(self) -> str:
        """`running` or `exited`, in Docker's words."""
        return "running" if self._process and self._process.poll() is None else "exited"

    def start(self) -> None:
        """Start the process; its output is appended to the log.

        Python is not started afresh where a fork of one that has the libraries does the same.
        """
        python = warm_python.of_the_run()
        if python and warm_python.can_be_warm(self._command, env=self._env, cwd=self._cwd):
            self._process = python.start(
                self._command[1:], env=self._env, output=self._log, errors=self._log
            )
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Nothing is left when a process of pytest-xdist is ended half way.
                preexec_fn=lambda: die_with_parent(SIGTERM),
            )

    def ready(self) -> bool:
        """Wait until the log holds the line that says so."""
        wait_for(
            lambda: self._ready_when in self.logs() or self.status == "exited",
            what=f"{self.name} to be ready",
            seconds=60,
        )
        if self.status == "exited":
            raise RuntimeError(f"{self.name} ended:\n{self.logs()}")
        return True

    def logs(self) -> str:
        """Everything the process has written."""
        return self._log.read_text(errors="replace") if self._said is None else self._said

    def kill(self, signal: str | int = SIGKILL) -> None:
        """Send a signal to the process and all that it started; SIGKILL and SIGSTOP have worked.

        On a busy machine the other threads of a process go on for a while after SIGSTOP.
        """
        number = Signals[signal] if isinstance(signal, str) else signal
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, number)
            if number == SIGKILL:
                self._process.wait(timeout=10)
            elif number == SIGSTOP:
                wait_for(lambda: _is_stopped(self.pid), what=f"{self.name} to stop", every=0.001)

    def restart(self, timeout: float = 20) -> None:
        """Stop the process politely and start it again."""
        self.stop(timeout=timeout)
        self.start()

    def reload(self) -> None:
        """Nothing to fetch: the status is always read from the process itself."""

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM, then SIGKILL for what has not ended in time; the exit code."""
        if not self._process:
            return 0
        self.kill(SIGTERM)
        try:
            return self._process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill(SIGKILL)
            return self._process.wait(timeout=10)

    def teardown(self) -> None:
        """End the process and remove its log."""
        self.stop()
        if self._said is None:
            self._said = self.logs()
            self._log.unlink()


def _is_stopped(pid: int) -> bool:
    """Whether no thread of a process, or of what it started, runs on."""
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    try:
        threads = [thread for each in family for thread in Path(f"/proc/{each}/task").iterdir()]
        states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread has ended meanwhile, before its file was opened, or read
    return set(states) == {"T"}


_started: list[LocalProcess] = []


def forget_those_that_ended() -> None:
    """A test begins: what it wants to know of is what runs, and what it starts."""
    _started[:] = [process for process in _started if process.status == "running"]


def last_words(lines: int) -> Iterator[tuple[str, str]]:
    """The name of each process that a test has met, and so many of its last lines."""
    for process in _started:
        yield process.name, "\n".join(process.logs().splitlines()[-lines:])


def teardown_together(processes: Iterable[LocalProcess]) -> None:
    """End several processes in the time that the slowest of them takes."""
    remaining = list(processes)
    for process in remaining:
        process.kill(SIGTERM)
    for process in remaining:
        process.teardown()


def wait_for(
    condition: Callable[[], object], *, what: str, seconds: float = 60, every: float = 0.05
) -> None:
    """Poll until the condition holds. Raises TimeoutError naming what did not come.

    `every` is the pause between two looks, in seconds: longer for a look that costs much.
    """
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(every)


def service_environment(*, spotify_url: str, redis_url: str, **overrides: str) -> dict[str, str]:
    """The environment of a process of the service that works on the test database."""
    database = connection.settings_dict
    return {
        **os.environ,
        "ENV_FILE": "/dev/null",
        "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
            **{key: quote(str(database[key]), safe="") for key in database if key.isupper()}
        ),
        "REDIS_URL": redis_url,
        "SPOTIFY_ACCOUNTS_URL": spotify_url,
        "SPOTIFY_API_URL": spotify_url,
        "PYTHONUNBUFFERED": "1",
        **overrides,
    }


def celery_command(*arguments: str) -> list[str]:
    """`celery -A config …`, as the Procfile has it."""
    return [sys.executable, "-m", "celery", "-A", "config", *arguments]


def worker_process(
    name: str,
    *,
    env: Mapping[str, str],
    concurrency: int = 8,
    ready_when: str = "ready.",
    cwd: Path = ROOT,
    prefix: Sequence[str] = (),
) -> LocalProcess:
    """A real worker, started as the Procfile starts it; the code is that in `cwd`.

    `prefix` stands before the command, and becomes it in the end, as `nsenter` does.
    """
    return LocalProcess(
        name,
        [
            *prefix,
            *celery_command(
                *("worker", "--pool", "threads", "--concurrency", str(concurrency)),
                *("--queues", "keeper,lanes,webhooks", "--without-gossip", "--without-mingle"),
                *("--hostname", f"{name}@localhost"),
            ),
        ],
        env=env,
        ready_when=ready_when,
        cwd=cwd,
    )


def web_process(name: str, *, env: Mapping[str, str], cwd: Path = ROOT) -> LocalProcess:
    """A real gunicorn, started as the Procfile starts it; HOST and PORT are in `env`."""
    return LocalProcess(
        name,
        [sys.executable, "-m", "gunicorn", "config.wsgi", "--config", "config/gunicorn.py"],
        env=env,
        ready_when="Booting worker",
        cwd=cwd,
    )


def beat_process(name: str, *, env: Mapping[str, str]) -> LocalProcess:
    """A real beat, started as the Procfile starts it. With a log of JSON it says nothing."""
    ready_when = "" if env.get("LOG_FORMAT") == "json" else "maxinterval"
    return LocalProcess(name, celery_command("beat"), env=env, ready_when=ready_when)


def json_lines(text: str) -> list[dict[str, Any]]:
    """A log of JSON, line by line. Raises ValueError for a line that is no object."""
    lines = [json.loads(line) for line in text.splitlines()]
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError("a line is no object")
    return lines
