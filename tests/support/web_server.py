"""The web server as the Procfile starts it, and visitors with raw sockets."""

import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from honcho.environ import parse_procfile

from dev.process import ROOT, free_port
from dev.supervisor import own_python
from tests.support.processes import LocalProcess

HTTPS_SITE = "keeper.example"


def web_command() -> list[str]:
    """The line `web` of the Procfile, as `make run` calls it."""
    line = parse_procfile((ROOT / "Procfile").read_text()).processes["web"]
    return ["/bin/sh", "-c", f"exec {own_python(line)}"]


def settings_without_servers(port: int, **overrides: str) -> dict[str, str]:
    """Settings with which the start page is shown; neither PostgreSQL nor Redis is there."""
    return {
        "PATH": "/usr/bin:/bin",
        "ENV_FILE": "/dev/null",
        "PYTHONUNBUFFERED": "1",
        "SECRET_KEY": "a-secret-key-for-this-test-that-is-long-enough-to-pass-000",
        "TOKEN_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
        "DATABASE_URL": "postgres://nobody:pw@127.0.0.1:9/none",
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "SPOTIFY_CLIENT_ID": "id",
        "SPOTIFY_CLIENT_SECRET": "shh-secret",
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{port}/spotify/callback/",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "WEB_THREADS": "2",
        **overrides,
    }


class WebServer:
    """A running web server."""

    def __init__(self, process: LocalProcess, port: int, host: str) -> None:
        self.process = process
        self.port = port
        self.host = host

    def connect(self, sent: bytes = b"", *, seconds: float = 20) -> socket.socket:
        """A connection on which this much was sent."""
        with ExitStack() as undo:
            connection = socket.create_connection((self.host, self.port), timeout=seconds)
            undo.callback(connection.close)
            connection.sendall(sent)
            undo.pop_all()
        return connection

    def answer(self, sent: bytes, *, seconds: float = 20) -> str:
        """All that is answered to a request that closes its connection; latin-1."""
        with self.connect(sent, seconds=seconds) as connection:
            return received(connection)


def received(connection: socket.socket) -> str:
    """All that comes until the connection ends."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode("latin-1")


def get(path: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    """A request that closes its connection."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


def form_owed(length: int = 1000) -> bytes:
    """The head of the login's form with a made-up CSRF cookie, and one byte of its body."""
    return (
        f"POST /spotify/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={'a' * 32}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {length}\r\n\r\nc"
    ).encode()


@contextmanager
def holding(server: WebServer, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Many connections on which the same was sent, and then nothing."""
    connections = [server.connect(sent) for _ in range(count)]
    try:
        time.sleep(0.5)  # all of it has arrived, or stands in the queue
        yield connections
    finally:
        for connection in connections:
            with suppress(OSError), closing(connection):
                pass


@contextmanager
def serving(
    command: list[str] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    cwd: Path = ROOT,
) -> Iterator[WebServer]:
    """The web server of the Procfile, until the end of the block."""
    port = port or free_port()
    env = env or settings_without_servers(port)
    process = LocalProcess("web", command or web_command(), env=env, ready_when="Booting", cwd=cwd)
    try:
        process.ready()
        yield WebServer(process, port, env.get("HOST", "127.0.0.1"))
    finally:
        process.teardown()
