"""The web server of the Procfile against slow and large requests, over real sockets."""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from config import web_worker
from dev.process import free_port
from tests.support.processes import wait_for
from tests.support.servers import speaking
from tests.support.web_server import (
    HTTPS_SITE,
    WebServer,
    form_owed,
    get,
    holding,
    received,
    serving,
    settings_without_servers,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("web_server")]

SOON = 20.0
"""Seconds in which a visitor is answered, on a busy machine too: who owes something has 60."""


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with serving() as running:
        yield running


def is_served(server: WebServer) -> bool:
    return server.answer(get("/"), seconds=SOON).startswith("HTTP/1.1 200")


@pytest.mark.parametrize("count", [24, 200])
@pytest.mark.parametrize(
    "owed",
    [
        form_owed(),
        b"GET / HTTP/1.1\r\nHost: 127",  # the head is not all there
        b"POST /spotify/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nff\r\nc",
        b"",
    ],
    ids=["body", "head", "chunked", "nothing"],
)
def test_connections_that_owe_something_stop_nobody(
    server: WebServer, count: int, owed: bytes
) -> None:
    with holding(server, count, owed):
        assert is_served(server)


def test_connections_that_do_not_read_their_answers_stop_nobody(server: WebServer) -> None:
    page = get("/").replace(b"Connection: close\r\n", b"")

    with holding(server, 24, page * 200):  # far more than the buffers of the sockets take
        assert is_served(server)


def impatient(*, idle: int, transfer: float) -> list[str]:
    """The real server with shorter times, since a minute is long for a test."""
    code = (
        "import sys; from config import web_worker;"
        f"web_worker.IDLE_SECONDS, web_worker.TRANSFER_SECONDS = {idle}, {transfer};"
        "sys.argv = ['gunicorn', 'config.wsgi', '--config', 'config/gunicorn.py'];"
        "from gunicorn.app.wsgiapp import run; run()"
    )
    return [sys.executable, "-c", code]


def test_a_request_that_trickles_is_ended() -> None:
    with serving(impatient(idle=60, transfer=2)) as server:
        begun = time.monotonic()
        with server.connect(form_owed()) as connection, suppress(OSError):
            while time.monotonic() - begun < 15:
                connection.sendall(b"x")
                time.sleep(0.2)
        took = time.monotonic() - begun

    assert 2 <= took < 15


def test_an_idle_connection_is_ended() -> None:
    with serving(impatient(idle=1, transfer=60)) as server, server.connect(form_owed()) as owing:
        assert received(owing) == ""


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: WebServer) -> None:
    answer = server.answer(form_owed(web_worker.BODY_BYTES + 1))

    assert answer.startswith("HTTP/1.1 413")


def test_a_body_of_chunks_that_is_too_large_is_refused(server: WebServer) -> None:
    head = b"POST /spotify/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    answer = server.answer(head + chunk * 4)

    assert answer.startswith("HTTP/1.1 413")


def test_a_head_that_is_too_large_is_refused(server: WebServer) -> None:
    answer = server.answer(get("/", f"Cookie: {'c' * web_worker.HEADER_BYTES}"))

    assert answer.splitlines()[0].endswith(" 431 Request Header Fields Too Large")


def test_many_cookies_are_not_too_large(server: WebServer) -> None:
    cookies = "; ".join(f"login_{number:016x}={'c' * 43}" for number in range(150))

    assert server.answer(get("/", f"Cookie: {cookies}")).startswith("HTTP/1.1 200")


def test_the_log_has_each_request_and_never_the_query(server: WebServer) -> None:
    server.answer(get("/?code=secret-code&state=secret-state"))
    server.answer(get("http://127.0.0.1/?code=secret-code"))
    server.answer(get("/%0d%0aforged?code=secret-code"))
    server.answer(b"GET /?code=secret-code HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n")  # malformed

    server.answer(get("/%22%20status=999"))

    wait_for(lambda: 'path="/%22%20status=999" ' in server.process.logs(), what="the line")
    log = server.process.logs()
    assert 'path="/%0d%0aforged" status=404 ' in log
    assert re.search(
        r' request method=GET path="/" status=200 bytes=\d+ ms=\d+ address=127\.0\.0\.1 '
        r"request_id=[0-9a-f]{32}$",
        log,
        re.MULTILINE,
    )
    assert "secret-" not in log


def test_what_is_refused_is_in_the_log_too(server: WebServer) -> None:
    server.answer(form_owed(web_worker.BODY_BYTES + 1))

    wait_for(
        lambda: 'method=POST path="/spotify/login/" status=413' in server.process.logs(),
        what="the line",
    )


def test_no_server_name_is_told(server: WebServer) -> None:
    assert "\nServer:" not in server.answer(get("/"))


@pytest.mark.parametrize(
    ("trusted", "header", "status"),
    [
        ("false", "", 301),
        ("false", "X-Forwarded-Proto: https", 301),  # also from this host
        ("false", "X-Forwarded-Ssl: on", 301),
        ("true", "X-Forwarded-Proto: https", 200),
        ("true", "X-Forwarded-Proto: http", 301),
        ("true", "X-Forwarded-Ssl: on", 301),
    ],
)
def test_a_proxy_is_believed_only_when_the_setting_says_so(
    trusted: str, header: str, status: int
) -> None:
    port = free_port()
    env = settings_without_servers(
        port,
        SPOTIFY_REDIRECT_URI=f"https://{HTTPS_SITE}/spotify/callback/",
        TRUST_X_FORWARDED_PROTO=trusted,
    )
    with serving(env=env, port=port) as server:
        answer = server.answer(get("/", *filter(None, [header]), host=HTTPS_SITE))

    assert answer.startswith(f"HTTP/1.1 {status}")


def test_an_ipv6_address_is_served() -> None:
    port = free_port()
    uri = f"http://[::1]:{port}/spotify/callback/"
    env = settings_without_servers(port, HOST="::1", SPOTIFY_REDIRECT_URI=uri)
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")

    with serving(env=env, port=port) as server:
        assert server.answer(get("/", host="[::1]")).startswith("HTTP/1.1 200")


def test_a_request_in_hand_is_answered_at_the_end() -> None:
    in_hand, told_to_end = threading.Event(), threading.Event()

    def hang(connection: socket.socket) -> None:
        in_hand.set()
        assert told_to_end.wait(60)
        time.sleep(1)

    port = free_port()
    with speaking(hang) as database:
        env = settings_without_servers(port, DATABASE_URL=f"postgres://u:p@127.0.0.1:{database}/d")
        with serving(env=env, port=port) as server:
            asks_the_database = get("/dashboard/", f"Cookie: sessionid={'s' * 32}")
            with server.connect(asks_the_database) as connection, server.connect(form_owed()):
                assert in_hand.wait(60)
                server.process.kill("SIGTERM")
                told = "Handling signal: term"
                wait_for(lambda: told in server.process.logs(), what="the signal")
                told_to_end.set()
                answer = received(connection)
            wait_for(lambda: server.process.status == "exited", what="the end")

    assert answer.startswith("HTTP/1.1 503")


def test_a_process_that_died_is_replaced(server: WebServer) -> None:
    (worker,) = {
        int(number)
        for number in re.findall(r"Booting worker with pid: (\d+)", server.process.logs())
    }
    os.kill(worker, signal.SIGKILL)

    wait_for(lambda: server.process.logs().count("Booting worker") == 2, what="another process")
    assert is_served(server)


def test_control_characters_are_written_out_in_the_log(server: WebServer) -> None:
    server.answer(b"GET /\x1b]0;pwn\x07 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")

    wait_for(lambda: "pwn" in server.process.logs(), what="the line")
    assert "\x1b" not in server.process.logs()
    assert "\\x1b]0;pwn" in server.process.logs()
