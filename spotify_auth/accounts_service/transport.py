"""One POST to the token endpoint, by libcurl: sent once or not at all, answered by a deadline.

libcurl waits without the GIL and costs a quarter of what requests does. Four of its habits are
off: to send again what a reused connection has swallowed, to look into the environment for
proxies, to leave what is late to the kernel, and to end a call before it has read what came while
the process was frozen.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import NamedTuple
from urllib.parse import urlsplit

import certifi
import pycurl

from spotify_auth import tcp
from spotify_auth.accounts_service import spotify
from spotify_auth.accounts_service.answers import AnswerLost, Unavailable
from spotify_auth.conf import settings
from spotify_auth.failure_codes import FailureCode
from spotify_auth.secrecy import forgets_variables

ANSWER_BYTES = 64 * 1024
"""The longest body, unpacked."""

LOOK_SECONDS = 1.0
"""How often libcurl asks, at least, whether to go on."""

_KEPT_HEADERS = {b"retry-after": "Retry-After", b"date": "Date"}

_NOT_SENT = {
    pycurl.E_OPERATION_TIMEDOUT: FailureCode.CONNECT_TIMEOUT,
    pycurl.E_ABORTED_BY_CALLBACK: FailureCode.CONNECT_TIMEOUT,
    pycurl.E_PEER_FAILED_VERIFICATION: FailureCode.CERTIFICATE_REFUSED,
    pycurl.E_SSL_CONNECT_ERROR: FailureCode.HANDSHAKE_FAILED,
}
"""What else fails before a request is a connection that was refused."""

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, whole."""

    status: int
    lines: Sequence[bytes]
    """Of the headers, as they came."""
    body: bytes | None
    """None: longer than ANSWER_BYTES, and not read further."""

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After and Date, where they came."""
        found = {}
        for line in _of_the_answer(self.lines):
            name, _, value = line.partition(b":")
            if known := _KEPT_HEADERS.get(name.lower()):
                found[known] = value.decode("latin-1").strip()
        return found


class Route(NamedTuple):
    """What a connection is made by. Another process, after a fork, makes its own."""

    url: str
    client_id: str
    client_secret: str
    proxy: str
    seconds: float
    authorities: str
    process_id: int


class Transport:
    """The connection of one thread to the token endpoint, which is kept from call to call."""

    def __init__(self, route: Route) -> None:
        authorization = spotify.client_authorization(route.client_id, route.client_secret)
        milliseconds = int(route.seconds * 1000)
        self._seconds = route.seconds
        self._curl = curl = pycurl.Curl()
        for option, value in (
            (pycurl.URL, route.url),
            (pycurl.POST, True),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.NOSIGNAL, True),
            # With the look-up. At least half of the time is for the answer.
            (pycurl.CONNECTTIMEOUT_MS, milliseconds // 2),
            (pycurl.NOPROGRESS, False),
            # Blank is none; without these libcurl asks the environment.
            (pycurl.PROXY, with_port(route.proxy)),
            (pycurl.NOPROXY, ""),
            (pycurl.CAINFO, route.authorities),
            (pycurl.PROXY_CAINFO, route.authorities),
            (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
            (pycurl.MAXCONNECTS, 1),
            (pycurl.MAXAGE_CONN, int(tcp.LONGEST_REST_SECONDS)),
            (pycurl.SOCKOPTFUNCTION, partial(_prepare, tcp.options(route.seconds))),
            # It is not asked for, and unpacked all the same if it comes.
            (pycurl.ACCEPT_ENCODING, "gzip"),
            (
                pycurl.HTTPHEADER,
                [
                    "Accept: application/json",
                    "Accept-Encoding: identity",
                    f"Authorization: {authorization}",
                    "Content-Type: application/x-www-form-urlencoded",
                    "User-Agent: Spotify-Token-Keeper/1",
                ],
            ),
        ):
            curl.setopt(option, value)
        curl.unsetopt(pycurl.CAPATH)  # a libcurl of a distribution trusts the system's too

    def post(self, form: bytes) -> Response | Unavailable | AnswerLost:
        """Send a form. Nothing is raised for whatever the other side or the network does."""
        curl, incoming = self._curl, _Incoming(self._seconds)
        with BytesIO(form) as body:
            curl.setopt(pycurl.FRESH_CONNECT, self._has_ended())
            curl.setopt(pycurl.POSTFIELDSIZE, len(form))
            # What a reused connection has swallowed may have been carried out. libcurl would send
            # it again if it could go back: so there is no SEEKFUNCTION, and no POSTFIELDS.
            curl.setopt(pycurl.READFUNCTION, body.read)
            curl.setopt(pycurl.XFERINFOFUNCTION, incoming.look)
            curl.setopt(pycurl.HEADERFUNCTION, incoming.lines.append)
            curl.setopt(pycurl.WRITEFUNCTION, incoming.part)
            try:
                curl.perform()
            except pycurl.error as error:
                if not incoming.is_too_large:
                    # libcurl takes the body when there is a connection to write it to.
                    return _no_answer(error.args[0], incoming, sent=body.tell() > 0)
        if not incoming.is_begun:
            # A connection that ends among the headers is an answer to libcurl.
            return AnswerLost(FailureCode.CONNECTION_CUT)
        return Response(
            status=curl.getinfo(pycurl.RESPONSE_CODE),
            lines=incoming.lines,
            body=None if incoming.is_too_large else b"".join(incoming.parts),
        )

    def _has_ended(self) -> bool:
        """Whether the other side has hung up meanwhile. libcurl looks once a second at most."""
        descriptor = self._curl.getinfo(pycurl.ACTIVESOCKET)
        if descriptor < 0:
            return False  # there is none
        kept = select.poll()
        kept.register(descriptor, select.POLLIN)
        return bool(kept.poll(0))


def with_port(proxy: str) -> str:
    """The proxy's address with its port: without one libcurl would ask 1080."""
    try:
        parts = urlsplit(proxy)
        usual = None if parts.port else {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return proxy  # no address: it will not be found
    return f"{parts.scheme}://{parts.netloc}:{usual}" if usual else proxy


def _prepare(options: Iterable[tuple[int, int, int]], descriptor: int, _purpose: int) -> int:
    """Set the options of a new socket, before it connects."""
    connecting = socket.socket(fileno=descriptor)
    try:
        for option in options:
            connecting.setsockopt(*option)
    finally:
        connecting.detach()  # it is libcurl's
    return int(pycurl.SOCKOPT_OK)


class _Incoming:
    """What has come of one answer."""

    def __init__(self, seconds: float) -> None:
        self._looked = time.monotonic()
        # A look is up to a second after the one before: a deadline is not passed, but for one that
        # is so short that this second would be much of it.
        early = LOOK_SECONDS if seconds >= 4 * LOOK_SECONDS else 0.0
        self._given_up = self._looked + seconds - early
        self._is_spared = False
        """It was late once, and was given a moment more."""
        self.lines: list[bytes] = []
        """Of its headers, as they came: most are never read."""
        self.parts: list[bytes] = []
        self.is_too_large = False
        self._size = 0

    def look(self, _to: int, _came: int, _from: int, _went: int) -> bool:
        """Whether it is time to give up: libcurl asks at each step, and once a second.

        Its own time-out would throw away what came while the process was frozen, unread. A
        process that is late again and again is not frozen, and gives up.
        """
        now, a_moment = time.monotonic(), LOOK_SECONDS / 4
        is_late = now - self._looked > LOOK_SECONDS * 1.1
        if is_late and not self._is_spared and now + a_moment > self._given_up:
            self._given_up, self._is_spared = now + a_moment, True
        self._looked = now
        return now > self._given_up

    @property
    def is_begun(self) -> bool:
        """Whether its headers are whole."""
        return any(not line.strip() for line in _of_the_answer(self.lines))

    def part(self, part: bytes) -> int:
        """Keep it; any number but its length ends the call."""
        self._size += len(part)
        if self._size > ANSWER_BYTES:
            self.is_too_large = True
            return -1
        self.parts.append(part)
        return len(part)


def _of_the_answer(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Its own headers: what came before its status line was a proxy's, or told to wait."""
    begins = [n for n, line in enumerate(lines) if line.startswith(b"HTTP/")]
    return lines[begins[-1] :] if begins else []


def _no_answer(code: int, incoming: _Incoming, *, sent: bool) -> Unavailable | AnswerLost:
    """Tell a request that never left from one that may have been carried out."""
    if not sent:
        return Unavailable(_NOT_SENT.get(code, FailureCode.CONNECTION_REFUSED))
    if incoming.is_begun:
        return AnswerLost(FailureCode.ANSWER_CUT_SHORT)
    if code == pycurl.E_ABORTED_BY_CALLBACK:
        return AnswerLost(FailureCode.TIMEOUT)
    return AnswerLost(FailureCode.CONNECTION_CUT)


@forgets_variables
def of_this_thread() -> Transport:
    """This thread's connection, made anew when a setting has changed or the process forked."""
    route = Route(
        url=f"{settings.SPOTIFY_ACCOUNTS_URL}{spotify.TOKEN_PATH}",
        client_id=settings.SPOTIFY_CLIENT_ID,
        client_secret=settings.SPOTIFY_CLIENT_SECRET,
        proxy=settings.OUTBOUND_PROXY_URL,
        seconds=settings.TOKEN_ENDPOINT_DEADLINE_SECONDS,
        authorities=certifi.where(),
        process_id=os.getpid(),
    )
    if getattr(_local, "route", None) != route:
        _local.transport, _local.route = Transport(route), route
    kept: Transport = _local.transport
    return kept
