"""Connections that rested, or that somebody on the way has forgotten. Over real sockets."""

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from spotify_auth import tcp
from spotify_auth.http_client import BoundedSession
from tests.support.servers import speaking

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Then = Callable[[socket.socket, bytes], None]


def cut(connection: socket.socket, request: bytes) -> None:
    """End the connection in the place of an answer."""


def reset(connection: socket.socket, request: bytes) -> None:
    """End it as a NAT does that answers for a connection that it has forgotten."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def stay_silent(connection: socket.socket, request: bytes) -> None:
    """Swallow the request, as a NAT does that has forgotten the connection."""
    connection.recv(1)  # until the client leaves


def answer_in_part(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


@dataclass
class Forgetful:
    """Answers the first request of each connection; what is done with the second is `then`."""

    then: Then
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    url: str = ""

    def talk(self, connection: socket.socket) -> None:
        self.connections += 1
        if self._hear(connection):
            connection.sendall(ANSWER)
            if request := self._hear(connection):
                self.then(connection, request)

    def _hear(self, connection: socket.socket) -> bytes:
        heard = b""
        while not heard.endswith(b"\r\n\r\n"):
            if not (received := connection.recv(65_536)):
                return b""
            heard += received
        self.requests.append(heard.split(b" ")[0])
        return heard


@contextmanager
def forgetful(then: Then) -> Iterator[Forgetful]:
    server = Forgetful(then)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                server.talk(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as tcp:
        tcp.daemon_threads = True
        thread = threading.Thread(target=tcp.serve_forever, args=(0.05,))
        thread.start()
        server.url = f"http://127.0.0.1:{tcp.server_address[1]}/"
        try:
            yield server
        finally:
            tcp.shutdown()
            thread.join()


def call(
    session: BoundedSession, url: str, method: str = "GET", *, stream: bool = False
) -> requests.Response:
    request = session.prepare_request(requests.Request(method, url))
    return session.send(request, stream=stream)


@pytest.fixture
def session() -> Iterator[BoundedSession]:
    with BoundedSession(total_seconds=30, proxy="") as session:
        yield session


@pytest.mark.parametrize("then", [cut, reset])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_safe_request_that_a_reused_connection_swallowed_is_sent_once_more(
    session: BoundedSession, method: str, then: Then
) -> None:
    with forgetful(then) as server:
        call(session, server.url)

        assert call(session, server.url, method).ok

        assert server.requests == [b"GET", method.encode(), method.encode()]
        assert server.connections == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_request_that_may_have_been_obeyed_is_never_repeated(
    session: BoundedSession, method: str
) -> None:
    with forgetful(cut) as server:
        call(session, server.url)

        with pytest.raises(requests.ConnectionError):
            call(session, server.url, method)

        assert server.requests == [b"GET", method.encode()]


def test_a_new_connection_that_fails_is_not_tried_again(session: BoundedSession) -> None:
    counted = []

    def hear_and_leave(connection: socket.socket) -> None:
        counted.append(connection.recv(65_536))

    with speaking(hear_and_leave) as port:
        with pytest.raises(requests.ConnectionError):
            call(session, f"http://127.0.0.1:{port}/")

        assert len(counted) == 1


def test_an_answer_that_has_begun_is_not_asked_for_again(session: BoundedSession) -> None:
    with forgetful(answer_in_part) as server:
        call(session, server.url)

        with pytest.raises(requests.RequestException):
            call(session, server.url)

        assert server.requests == [b"GET", b"GET"]


def test_the_repetition_is_over_a_new_connection(session: BoundedSession) -> None:
    with forgetful(cut) as server:
        both = [call(session, server.url, stream=True) for _ in range(2)]
        assert [answer.text for answer in both] == ["ok", "ok"]
        # Two connections rest in the pool now, and both have been forgotten.

        assert call(session, server.url).ok

        assert server.connections == 3


def test_a_connection_that_rested_is_not_used_again(
    session: BoundedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forgetful(stay_silent) as server:
        call(session, server.url)
        monkeypatch.setattr(tcp, "LONGEST_REST_SECONDS", -1.0)  # a minute passes

        assert call(session, server.url).ok
        assert call(session, server.url, "POST").ok

        assert (server.connections, server.requests) == (3, [b"GET", b"GET", b"POST"])


def test_a_connection_in_use_is_kept(session: BoundedSession) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(ANSWER)

    with forgetful(answer) as server:
        call(session, server.url)
        assert call(session, server.url).ok

        assert server.connections == 1


@pytest.mark.parametrize("through", ["directly", "proxy"])
def test_tcp_probes_idle_connections(through: str) -> None:
    with (
        forgetful(cut) as server,
        BoundedSession(total_seconds=2, proxy=server.url if through == "proxy" else "") as session,
        call(session, server.url, stream=True) as answer,
    ):
        connection: Any = answer.raw.connection

        assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        # What is unsent at the deadline is never sent (tests/cluster/test_two_hosts.py).
        left = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert left == 2000
