"""How a request is sent, over real sockets: once or not at all, and never found in doubt.

Before libcurl has a connection nothing can have been carried out. From then on anything can.
"""

import gzip
import os
import socket
import ssl
import struct
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select

import certifi
import pycurl
import pytest
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import tcp
from spotify_auth.accounts_service import transport
from spotify_auth.accounts_service.answers import AnswerLost, RateLimited, Unavailable
from spotify_auth.accounts_service.errors import grant_of
from tests.support.exchanges import refresh
from tests.support.servers import WHOLE, Authority, speaking

HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWER = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)

Say = Callable[[socket.socket], None]


@dataclass
class Heard:
    """What a server was sent, request by request, and over how many connections."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def server(*says: Say, tls: ssl.SSLContext | None = None) -> Iterator[Heard]:
    """Says one of these to each request, and grants all that come after them.

    A whole answer alone leaves the connection open. Over TLS it ends without a word, as if cut.
    """
    heard, left = Heard(), list(says)
    latest: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        heard.connections += 1
        latest[:] = [connection]
        if tls:
            connection = tls.wrap_socket(connection.dup(), server_side=True)
        with connection:
            while request := _request(connection):
                heard.requests.append(request)
                say = left.pop(0) if left else whole
                say(connection)
                if say not in {whole, whole_with_cookie}:
                    return

    with speaking(talk) as port:
        heard.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        try:
            yield heard
        finally:
            with suppress(OSError):
                for connection in latest:  # the client would keep it
                    connection.shutdown(socket.SHUT_RDWR)


def _request(connection: socket.socket) -> bytes:
    """All of one request; nothing when the client has left."""
    heard = b""
    while not heard.endswith(b"refresh_token=any"):
        if not (received := connection.recv(65_536)):
            return b""
        heard += received
    return heard


def whole(connection: socket.socket) -> None:
    connection.sendall(ANSWER)


def whole_with_cookie(connection: socket.socket) -> None:
    connection.sendall(ANSWER.replace(HEAD, HEAD + b"Set-Cookie: user=one\r\n"))


def saying(*parts: bytes) -> Say:
    """Say this, and hang up."""
    return lambda connection: connection.sendall(b"".join(parts))


def cut(connection: socket.socket) -> None:
    """Hang up."""


def reset(connection: socket.socket) -> None:
    """As a NAT does that has forgotten the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stay_silent(connection: socket.socket) -> None:
    connection.recv(1)  # until the client leaves


def without_end(line: bytes) -> Say:
    def say(connection: socket.socket) -> None:
        connection.sendall(HEAD if line.startswith(b"x") else b"")
        while True:
            connection.sendall(line * 1000)

    return say


def socket_in_use() -> int:
    """The descriptor of this thread's connection."""
    return int(transport.of_this_thread()._curl.getinfo(pycurl.ACTIVESOCKET))


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the client trusts."""
    authority = Authority(tmp_path)
    monkeypatch.setattr(certifi, "where", lambda: str(authority.file))
    return authority


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize(
    ("say", "code"),
    [
        (cut, "connection_cut"),
        (reset, "connection_cut"),
        (saying(b"HTTP/1.1 2"), "connection_cut"),
        (saying(HEAD, b"Content-Type: app"), "connection_cut"),
        (saying(WHOLE), "connection_cut"),  # HTTP/0.9
        (saying(b"\x15\x03\x03\x00\x02\x02\x28" * 100), "connection_cut"),
        (saying(b"HTTP/7.3 200 OK\r\n\r\n"), "connection_cut"),
        (saying(HEAD, b"Content-Length: 500\r\n\r\n"), "answer_cut_short"),
        (saying(HEAD, b"Content-Length: 500\r\n\r\n", WHOLE), "answer_cut_short"),
        (saying(HEAD, b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"), "answer_cut_short"),
        (saying(HEAD, b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}"), "answer_cut_short"),
        (saying(HEAD, b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40), "answer_cut_short"),
        (saying(HEAD, b"Content-Encoding: gzip\r\n\r\n{},,,,,,,,"), "answer_cut_short"),
        (without_end(b"x: y\r\n"), "connection_cut"),
        (without_end(b"HTTP/1.1 100 Continue\r\n\r\n"), "connection_cut"),
        (stay_silent, "timeout"),
    ],
)  # fmt: skip
def test_a_request_that_was_sent_is_lost_and_never_sent_again(
    authority: Authority, settings: Settings, say: Say, code: str, is_reused: bool, is_tls: bool
) -> None:
    # Half of it is for the connection, and a busy machine takes a while for a handshake.
    short = 1.9 if is_tls else 0.95
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = short if say is stay_silent else 20.0
    says = [whole, say] if is_reused else [say]
    with server(*says, tls=authority.server_context() if is_tls else None) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url
        if is_reused:
            grant_of(refresh("any"))

        got = refresh("any")

    assert got == AnswerLost(code)
    assert (len(heard.requests), heard.connections) == (len(says), 1)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_connection_that_has_ended_meanwhile_is_made_anew(
    authority: Authority, settings: Settings, is_tls: bool
) -> None:
    """As servers do that keep one for some seconds. Nothing was sent over it."""
    tls = authority.server_context() if is_tls else None
    with server(saying(ANSWER), whole, tls=tls) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url

        refresh("any")
        assert select([socket_in_use()], [], [], 30)[0]  # its end has come
        for _ in range(2):
            assert grant_of(refresh("any")).access_token == "a"

    assert (len(heard.requests), heard.connections) == (3, 2)


def test_a_connection_that_rested_is_not_used_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "LONGEST_REST_SECONDS", 1.0)
    with server() as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url
        refresh("any")
        threading.Event().wait(1.1)
        refresh("any")

    assert heard.connections == 2


@pytest.mark.parametrize(
    ("url", "proxy", "code"),
    [
        ("http://127.0.0.1:{nobody}", "", "connection_refused"),
        ("http://no-such-host.invalid", "", "connection_refused"),
        ("https://accounts.invalid", "http://127.0.0.1:{nobody}", "connection_refused"),
        ("https://accounts.invalid", "http://no-such-host.invalid:1", "connection_refused"),
        ("https://accounts.invalid", "nonsense://:", "connection_refused"),
    ],
)
def test_without_a_connection_nothing_was_sent(
    settings: Settings, url: str, proxy: str, code: str
) -> None:
    settings.SPOTIFY_ACCOUNTS_URL = url.format(nobody=free_port())
    settings.OUTBOUND_PROXY_URL = proxy.format(nobody=free_port())

    assert refresh("any") == Unavailable(code)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "connection_refused"),
        (b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", "connection_refused"),
        (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", "connection_refused"),
        (b"nonsense", "connection_refused"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "handshake_failed"),  # and then it hangs up
        (b"", "connection_refused"),
    ],
)
def test_a_proxy_that_does_not_lead_there_means_nothing_was_sent(
    settings: Settings, words: bytes, code: str
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(words)

    with speaking(talk) as port:
        settings.SPOTIFY_ACCOUNTS_URL = "https://accounts.invalid"
        settings.OUTBOUND_PROXY_URL = f"http://127.0.0.1:{port}"

        assert refresh("any") == Unavailable(code)


def test_a_proxy_is_told_where_to_and_nothing_of_ours(
    authority: Authority, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are not the answer's, and the environment knows no way around it."""
    monkeypatch.setenv("NO_PROXY", "*")
    asked = []

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nRetry-After: 77\r\n\r\n")
        with tls.wrap_socket(connection.dup(), server_side=True) as inside:
            assert _request(inside)
            inside.sendall(b"HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n\r\n")

    tls = authority.server_context(host="accounts.invalid")
    tls.set_alpn_protocols(["h2", "http/1.1"])  # HTTP/2 is not asked for
    with speaking(talk) as port:
        settings.SPOTIFY_ACCOUNTS_URL = "https://accounts.invalid"
        settings.OUTBOUND_PROXY_URL = f"http://us%40er:pass@127.0.0.1:{port}"

        assert refresh("any") == RateLimited(None)

    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "CONNECT accounts.invalid:443 HTTP/1.1"
    assert [line for line in lines if "uthorization" in line] == [
        f"Proxy-Authorization: Basic {b64encode(b'us@er:pass').decode()}"
    ]


def test_a_proxy_that_speaks_tls_is_trusted_as_spotify_is(
    authority: Authority, settings: Settings
) -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        with tls.wrap_socket(connection.dup(), server_side=True) as inside:
            asked.append(inside.recv(65_536))

    tls = authority.server_context()
    with speaking(talk) as port:
        settings.SPOTIFY_ACCOUNTS_URL = "https://accounts.invalid"
        settings.OUTBOUND_PROXY_URL = f"https://127.0.0.1:{port}"

        refresh("any")

    assert asked[0].startswith(b"CONNECT accounts.invalid:443 ")


@pytest.mark.parametrize(
    ("setting", "proxy"),
    [
        ("", ""),
        ("http://proxy", "http://proxy:80"),
        ("https://us%40er:pass@proxy", "https://us%40er:pass@proxy:443"),
        ("http://[::1]/", "http://[::1]:80"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("socks5h://proxy", "socks5h://proxy"),
        ("http://proxy:port", "http://proxy:port"),
    ],
)
def test_a_proxy_without_a_port_has_the_usual_one(setting: str, proxy: str) -> None:
    """As for the Web API. libcurl would ask port 1080."""
    assert transport.with_port(setting) == proxy


def test_what_is_sent(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same each time: no cookie of the one before, and nothing from the environment."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login stray password stray")
    monkeypatch.setenv("HOME", str(tmp_path))
    settings.SPOTIFY_CLIENT_ID, settings.SPOTIFY_CLIENT_SECRET = "id", "s!cret"

    with server(whole_with_cookie) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url
        refresh("any")
        refresh("any")

    assert heard.requests[0] == heard.requests[1]
    assert heard.requests[1].decode().split("\r\n") == [
        "POST /api/token HTTP/1.1",
        f"Host: {heard.url.removeprefix('http://')}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        f"Authorization: Basic {b64encode(b'id:s!cret').decode()}",
        "Content-Type: application/x-www-form-urlencoded",
        "User-Agent: Spotify-Token-Keeper/1",
        "Content-Length: 42",
        "",
        "grant_type=refresh_token&refresh_token=any",
    ]


def test_what_is_packed_unasked_is_unpacked(settings: Settings) -> None:
    packed = gzip.compress(WHOLE)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with server(saying(HEAD, head, packed)) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url

        assert grant_of(refresh("any")).access_token == "a"


def test_hints_before_the_answer_are_not_the_answer(settings: Settings) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 77\r\n\r\n"
    with server(saying(hint, b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n")) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url

        assert refresh("any") == RateLimited(None)


def test_an_answer_within_a_short_deadline_is_not_given_up(settings: Settings) -> None:
    """libcurl lets us look at the time once a second only."""
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 1.9

    def late(connection: socket.socket) -> None:
        threading.Event().wait(1.1)  # after the first look
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE)

    with server(late) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url

        assert grant_of(refresh("any")).access_token == "a"


def test_old_versions_of_tls_are_not_spoken(authority: Authority, settings: Settings) -> None:
    old = authority.server_context()
    with pytest.deprecated_call():
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with server(tls=old) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url

        assert refresh("any") == Unavailable("handshake_failed")


def test_tcp_probes_the_connection_and_gives_it_up_at_the_deadline(settings: Settings) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 2.0
    with server() as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url
        refresh("any")
        connection = socket.socket(fileno=socket_in_use())
        try:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            # What is unsent at the deadline is never sent (tests/cluster/test_two_hosts.py).
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
        finally:
            connection.detach()


def test_a_forked_process_has_a_connection_of_its_own(
    authority: Authority, settings: Settings
) -> None:
    with server(tls=authority.server_context()) as heard:
        settings.SPOTIFY_ACCOUNTS_URL = heard.url
        refresh("any")
        before = transport.of_this_thread()

        child = os.fork()
        if child == 0:
            os._exit(transport.of_this_thread() is before)
        assert os.waitpid(child, 0)[1] == 0
        refresh("any")

    assert (len(heard.requests), heard.connections) == (2, 1)


def test_a_process_that_is_always_late_gives_up_all_the_same() -> None:
    """As on a host that is far too slow. Only one late look may be a process that was frozen."""
    incoming = transport._Incoming(0.2)

    given_up = []
    for _ in range(2):
        threading.Event().wait(transport.LOOK_SECONDS * 1.1)
        given_up.append(incoming.look(0, 0, 0, 0))

    assert given_up == [False, True]
