"""Before a request is sent: TLS that is not to be trusted, cut or not spoken at all.

Whatever goes wrong here, Spotify cannot have rotated: it is `Unavailable`, never
`AnswerLost`, which would be asked again at once and remembered as a lost answer.
"""

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
from pytest_django import Settings

from dev.process import ROOT
from spotify_auth.accounts_service import answers
from spotify_auth.accounts_service.errors import grant_of
from tests.support.exchanges import refresh
from tests.support.servers import WHOLE, Authority, serving, speaking

DEADLINE_SECONDS = 2.25


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the client trusts, as it trusts those of the public web."""
    authority = Authority(tmp_path)
    monkeypatch.setattr(certifi, "where", lambda: str(authority.file))
    return authority


def test_a_certificate_that_holds_is_accepted(authority: Authority, settings: Settings) -> None:
    whole = {"Content-Length": str(len(WHOLE))}
    with serving(tls=authority.server_context(), headers=whole) as server:
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
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says: it stands for nothing here."""
    authority = Authority(tmp_path)
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(authority.file))
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
    if talk is stay_silent:  # the others answer, though late on a busy machine
        settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = DEADLINE_SECONDS
    with speaking(talk) as port:
        settings.SPOTIFY_ACCOUNTS_URL = f"https://127.0.0.1:{port}"

        got = refresh("any")

        assert isinstance(got, answers.Unavailable)

    assert got.code == code


# On a host of its own, whose name service takes each question and says nothing.
_LOOKING_UP = """
import fcntl, socket, struct
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x49))  # up
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 53))
from django.conf import settings
settings.configure(
    SPOTIFY_ACCOUNTS_URL="http://accounts.invalid",
    SPOTIFY_CLIENT_ID="any", SPOTIFY_CLIENT_SECRET="any", TOKEN_ENDPOINT_DEADLINE_SECONDS=0.4,
)
from spotify_auth.accounts_service import transport
code = transport.of_this_thread().post(b"a=b").code
print(code, names.recv(99)[12:])
"""


def test_looking_up_the_host_is_part_of_the_deadline(tmp_path: Path) -> None:
    """A look-up that was waited for would end as `connection_refused`."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    mount = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf"
    of_its_own = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c"]
    made = subprocess.run([*of_its_own, mount], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no host of its own: {made.stderr}")

    looked_up = subprocess.run(
        [*of_its_own, f'{mount} && exec "$0" -c "$1"', sys.executable, _LOOKING_UP],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert looked_up.stdout.startswith("connect_timeout b'\\x08accounts\\x07invalid")
