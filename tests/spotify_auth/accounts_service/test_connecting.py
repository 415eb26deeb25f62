"""Before a request is sent: TLS that is not to be trusted, cut or not spoken at all.

Whatever goes wrong here, Spotify cannot have rotated: it is `Unavailable`, never
`AnswerLost`, which would be asked again at once and remembered as a lost answer.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from spotify_auth.accounts_service import answers
from spotify_auth.accounts_service.errors import grant_of
from spotify_auth.http_client import session_of_this_thread
from tests.support.exchanges import refresh
from tests.support.servers import Authority, serving, speaking

DEADLINE_SECONDS = 2.25
"""Of these tests alone, so that the session which trusts their authority is theirs."""


@pytest.fixture
def authority(tmp_path: Path, settings: Settings) -> Iterator[Authority]:
    """An authority that the client trusts, as it trusts those of the public web."""
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = DEADLINE_SECONDS
    session = session_of_this_thread(total_seconds=DEADLINE_SECONDS)
    authority = Authority(tmp_path)
    session.verify = str(authority.file)
    yield authority
    session.verify = True
    session.close()


def test_a_certificate_that_holds_is_accepted(authority: Authority, settings: Settings) -> None:
    with serving(tls=authority.server_context()) as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url

        assert grant_of(refresh("any")).access_token == "a"


@pytest.mark.parametrize(
    "wrong",
    [
        {"self_signed": True},
        {"host": "accounts.spotify.com"},  # somebody else's certificate
        {"host": "127.0.0.2"},
        {"days_left": -1},
    ],
)
def test_a_certificate_that_does_not_hold_is_refused_before_anything_is_sent(
    authority: Authority, settings: Settings, wrong: dict[str, Any]
) -> None:
    with serving(tls=authority.server_context(**wrong)) as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url

        got = refresh("any")

        assert isinstance(got, answers.Unavailable)

        assert got.code == "certificate_refused"
        assert server.requests == 0


def test_an_authority_that_nobody_knows_is_refused(
    authority: Authority, settings: Settings
) -> None:
    session_of_this_thread(total_seconds=DEADLINE_SECONDS).verify = True
    with serving(tls=authority.server_context()) as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url

        assert refresh("any") == answers.Unavailable("certificate_refused")

        assert server.requests == 0


def cut(connection: socket.socket) -> None:
    connection.recv(65536)


def reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stay_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def speak_plain_http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("talk", "code"),
    [
        (cut, "handshake_failed"),
        (reset, "handshake_failed"),
        (speak_plain_http, "handshake_failed"),
        (stay_silent, "connect_timeout"),
    ],
)
def test_a_handshake_that_fails_means_nothing_was_sent(
    settings: Settings, talk: Callable[[socket.socket], None], code: str
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = DEADLINE_SECONDS
    with speaking(talk) as port:
        settings.SPOTIFY_ACCOUNTS_URL = f"https://127.0.0.1:{port}"

        got = refresh("any")

        assert isinstance(got, answers.Unavailable)

    assert got.code == code


def test_nothing_is_sent_when_looking_up_the_host_took_too_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time-out bounds a look-up. After the deadline the row lock may be somebody else's."""
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 0.2
    look_up = socket.getaddrinfo
    looked_up = threading.Event()

    def look_up_slowly(*how: Any) -> Any:
        looked_up.wait(timeout=0.3)  # nobody sets it: the answer is late
        return look_up(*how)

    with serving() as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url
        monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)

        assert refresh("any") == answers.Unavailable("connect_timeout")

        assert server.requests == 0
