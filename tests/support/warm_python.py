"""Many short runs of Python programs, without importing the same libraries for each.

One interpreter imports the libraries, and each program runs in a fork of it: a process of its own,
with its own environment and output. What is ours, the program imports.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from dev.process import ROOT

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
    "kombu.transport.redis",
    "redis.asyncio",
    "requests",
)
"""What the service's programs import, and what needs no settings for it."""


class WarmPython:
    """The interpreter; use it as a context manager. Its programs run one after the other."""

    def __enter__(self) -> Self:
        self._files = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
        self._files.cleanup()

    def run(
        self, arguments: Sequence[str], *, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `python ARGUMENTS`: a script, `-m MODULE …` or `-c CODE`."""
        assert self._process.stdin
        assert self._process.stdout
        output, errors = (Path(self._files.name, name) for name in ("output", "errors"))
        request = [list(arguments), dict(env), str(output), str(errors)]
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, status, output.read_text(), errors.read_text()
        )


def _serve() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # a fork's collections leave the libraries' pages alone
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _become(*json.loads(line))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


def _become(arguments: list[str], env: dict[str, str], output: str, errors: str) -> NoReturn:
    """Run the program in this process, and end with it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(env)
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
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking the libraries apart, as the interpreter does at its end, takes longer than all this.
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
