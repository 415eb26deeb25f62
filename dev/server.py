"""A server as a child process: its output goes to a log, and it ends with its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dev.process import die_with_parent, stop


class Server:
    """One running child process, and the way to stop it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 10,
        env: Mapping[str, str] | None = None,
        configuration: str | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        """Start it. `configuration` goes to its standard input.

        `identity` is the user it runs as, in the words of `subprocess`.
        """
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds
        with open(log, "ab", opener=_private) as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if configuration else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                # Ctrl-C at the terminal is for the runner, which stops servers last.
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(stop_signal),
                **(identity or {}),
            )
        if self._process.stdin and configuration:
            with self._process.stdin as stdin:
                stdin.write(configuration.encode())

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its return code, or None while it runs."""
        return self._process.poll()

    def wait_until(self, answers: Callable[[], bool], *, seconds: float) -> None:
        """Poll until it answers. Raises SystemExit with one line if it does not."""
        give_up = time.monotonic() + seconds
        while not answers():
            if self.returncode is not None or time.monotonic() > give_up:
                self.stop()
                sys.exit(f"The server {self.name} did not start; its log is {self.log}.")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it by its signal, and kill it if that takes too long."""
        stop(self._process, self._stop_signal, seconds=self._stop_seconds)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
