"""Many runs of Python programs, without importing the same libraries for each.

One interpreter imports the libraries, and each program runs in a fork of it: a process of its own,
with its own environment, session and output. What is ours, the program imports.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import NoReturn, Self

from dev.process import ROOT, die_with_parent

_LIBRARIES = (
    "celery.apps.worker",
    "celery.beat",
    "celery.bin.celery",
    "cryptography.hazmat.primitives.ciphers.aead",
    "django.contrib.admin.options",
    "django.core.management.commands.check",
    "django.db.backends.postgresql.base",
    "django.test",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "kombu.transport.redis",
    "redis.asyncio",
    "requests",
)
"""What the service's programs import, and what needs no settings for it."""

_PR_SET_CHILD_SUBREAPER = 36


class WarmPython:
    """The interpreter, which starts with its first program; use it as a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.communicate()

    def start(
        self, arguments: Sequence[str], *, env: Mapping[str, str], output: Path, errors: Path
    ) -> "Child":
        """Start `python ARGUMENTS` (a script, `-m MODULE …` or `-c CODE`) as a child of this one.

        What it writes is appended to the two files, which may be one.
        """
        request = [os.getpid(), list(arguments), dict(env), str(output), str(errors)]
        with self._lock:
            process = self._process = self._process or _interpreter()
            assert process.stdin
            assert process.stdout
            # The fork of a fork, whose parent ends at once, becomes this process's child.
            _adopt(True)
            try:
                process.stdin.write(f"{json.dumps(request)}\n")
                process.stdin.flush()
                return Child(int(process.stdout.readline()))
            finally:
                _adopt(False)

    def run(
        self, arguments: Sequence[str], *, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `python ARGUMENTS` to its end, for a minute at most."""
        with tempfile.TemporaryDirectory() as directory:
            output, errors = (Path(directory, name) for name in ("output", "errors"))
            child = self.start(arguments, env=env, output=output, errors=errors)
            return subprocess.CompletedProcess(
                arguments, child.wait(60), output.read_text(), errors.read_text()
            )


class Child:
    """A process that was started so, with what `subprocess.Popen` has too."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, timeout: float) -> int:
        """The exit status. Raises subprocess.TimeoutExpired after so many seconds."""
        give_up = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > give_up:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return status


_of_the_run: list[WarmPython] = []


@contextmanager
def shared() -> Iterator[None]:
    """Let `of_the_run` be an interpreter until the end of the block."""
    with WarmPython() as python:
        _of_the_run.append(python)
        yield
        _of_the_run.remove(python)


def of_the_run() -> WarmPython | None:
    """The interpreter of the whole test run. Benchmarks have none: they measure processes."""
    return _of_the_run[0] if _of_the_run else None


def can_be_warm(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> bool:
    """Whether a fork does the same as the command: our Python, this code, the usual paths."""
    linux = sys.platform == "linux"
    return linux and command[0] == sys.executable and "PYTHONPATH" not in env and cwd == ROOT


def _interpreter() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests, which end it
        preexec_fn=lambda: die_with_parent(SIGTERM),
    )


def _adopt(switch: bool) -> None:
    """Whether orphans among this process's descendants become its children."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(switch))


def _serve() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # a fork's collections leave the libraries' pages alone
    for line in sys.stdin:
        reads, writes = os.pipe()
        if not (between := os.fork()):
            if os.fork():
                os._exit(0)
            parent, *program = json.loads(line)
            _belong_to(parent)
            os.write(writes, str(os.getpid()).encode())
            os.close(reads)
            os.close(writes)
            _become(*program)
        os.close(writes)
        os.waitpid(between, 0)
        with open(reads) as pipe:
            sys.stdout.write(f"{pipe.read()}\n")
        sys.stdout.flush()


def _belong_to(parent: int) -> None:
    """Be in a session of one's own, and in the care of the process that asked for the program."""
    os.setsid()
    while os.getppid() != parent:
        time.sleep(0.001)
    # Nothing is left when a process of pytest-xdist is ended half way.
    die_with_parent(SIGTERM)


def _become(arguments: list[str], env: dict[str, str], output: str, errors: str) -> NoReturn:
    """Run the program in this process, and end with it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(env)
    if "PYTHONUNBUFFERED" in env:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    status: object = 0
    try:
        _run(arguments)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        sys.stderr.write(f"{status}\n")
    # As the interpreter ends, but for taking all modules apart: that takes longer than all this.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def _run(arguments: list[str]) -> None:
    match arguments:
        case "-m", module, *_:
            sys.argv = arguments[1:]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case "-c", code:
            sys.argv = ["-c"]
            exec(code, {"__name__": "__main__"})  # noqa: S102  (the test's own code)
        case script, *_:
            sys.argv = arguments
            runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    _serve()
