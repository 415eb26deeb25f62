"""HTTP sessions whose every answer must be complete within a total time limit, and a size.

requests' time-outs apply to each read from the socket, so that a server which sends
one byte every few seconds, in the headers or in the body, may hold a call, and with it
a row lock, for ever. Here each read is allowed what is left of one deadline.

A NAT or a load balancer forgets a connection that was idle for some minutes, and answers its
next use with silence or a reset. So one that rested is not used again, TCP's own probes
keep the others known, and a GET that a reused connection swallowed is sent once more.

What could not be sent is forgotten at the deadline too. Otherwise the kernel goes on trying for
minutes after the call was given up, and a refresh token that was replaced meanwhile reaches
Spotify when the network is back.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from ssl import SSLCertVerificationError
from typing import Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.poolmanager import PoolManager

from spotify_auth.conf import settings

LONGEST_CONNECT_SECONDS = 3.0
LONGEST_READ_SECONDS = 10.0

LARGEST_ANSWER_BYTES = 2 * 1024 * 1024
"""Of a body, unpacked. The largest answers of the Web API have some hundred KB."""
_READ_BYTES = 64 * 1024

LONGEST_REST_SECONDS = 60.0
"""A connection that was idle for longer is closed: NATs are known to forget after 350 s."""

_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        # Seconds until the first probe and between two, and how many may stay unanswered.
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # macOS knows other names
    ),
]
_SAFE_METHODS = {"GET", "HEAD"}


def _forget_unsent_after(seconds: float) -> list[tuple[int, int, int]]:
    """The option by which the kernel gives up a connection that is not acknowledged for so long."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # only Linux has it
    return [] if option is None else [(socket.IPPROTO_TCP, option, int(seconds * 1000))]


class _Call(threading.local):
    """What the call that this thread is making knows; connections and pools read it."""

    deadline = 0.0
    reused = False
    """Whether the call was sent over one."""


_call = _Call()
_local = threading.local()


class AnswerTooLarge(requests.RequestException):
    """The body is larger than LARGEST_ANSWER_BYTES. It was not read further."""


class HandshakeFailed(NewConnectionError):
    """The connection was cut in its handshake, TLS or a proxy's: nothing was sent over it."""


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket, each time with a time-out of what is left."""

    def __init__(self, sock: socket.socket, stream: Any, deadline: float) -> None:
        self._sock = sock
        self._stream = stream
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the total deadline has passed")
        allowed = self._sock.gettimeout()
        # Each change is a system call, for which the thread gives the GIL away.
        if allowed is None or left < allowed:
            self._sock.settimeout(left)
        read: int = self._stream.readinto(buffer)
        return read

    def readall(self) -> bytes:
        """Nobody here reads an answer to its end at once, but http.client at a chunk of size -1."""
        raise OSError("an answer is read in parts")

    def close(self) -> None:
        self._stream.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    """A response whose every read, the status line's included, knows the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_DeadlineReader(sock, raw, deadline))


class _DeadlineMixin:
    """A connection that sends nothing, and reads nothing, after the deadline."""

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]  # from HTTPConnection
        except SSLCertVerificationError:
            raise
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the TLS handshake took too long") from error
        except OSError as error:
            raise HandshakeFailed(self, "the handshake failed") from error  # type: ignore[arg-type]
        # Looking up the host, and trying each of its addresses, may take any time.
        if time.monotonic() >= _call.deadline:
            self.close()  # type: ignore[attr-defined]
            raise ConnectTimeoutError(self, "the total deadline passed while connecting")

    def response_class(self, sock: socket.socket, **kwargs: Any) -> _DeadlineResponse:
        # http.client calls this for every answer, that of a proxy's CONNECT included.
        return _DeadlineResponse(sock, deadline=_call.deadline, **kwargs)


class PlainConnection(_DeadlineMixin, HTTPConnection):  # type: ignore[misc]  # a method
    """http, within the deadline."""


class TlsConnection(_DeadlineMixin, HTTPSConnection):  # type: ignore[misc]  # a method
    """https, within the deadline."""


class _RestedMixin:
    """A pool that closes a connection that rested too long, and makes it anew."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]  # from HTTPConnectionPool
        if connection.sock is not None:
            rested = time.monotonic() - connection.put_back_at
            if rested > LONGEST_REST_SECONDS:
                connection.close()  # it connects again when it is used
        _call.reused = connection.sock is not None
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.put_back_at = time.monotonic()
        super()._put_conn(conn)  # type: ignore[misc]  # from HTTPConnectionPool


class PlainPool(_RestedMixin, HTTPConnectionPool):
    """Connections to one host over http."""

    ConnectionCls = PlainConnection


class TlsPool(_RestedMixin, HTTPSConnectionPool):
    """Connections to one host over https."""

    ConnectionCls = TlsConnection


class DeadlineAdapter(HTTPAdapter):
    """Uses connections that know the deadline, also behind a proxy."""

    pools: ClassVar[Mapping[str, type[HTTPConnectionPool]]] = {
        "http": PlainPool,
        "https": TlsPool,
    }

    def __init__(self, total_seconds: float) -> None:
        self._options = [
            *HTTPConnection.default_socket_options,
            *_KEEP_ALIVE,
            *_forget_unsent_after(total_seconds),
        ]
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, socket_options=self._options)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        kwargs["socket_options"] = self._options
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = dict(self.pools)
        return manager


class BoundedSession(requests.Session):
    """A session whose calls neither send nor read anything `total_seconds` after their start.

    Connecting takes a quarter of that for each address of the host, and the time of the
    look-up, which Python cannot bound; if that was too long, nothing is sent.

    It keeps no cookie, follows no redirect and reads nothing from the environment: the search
    for proxies and .netrc costs a quarter of a call's CPU, and a stray .netrc would replace
    the Authorization header. OUTBOUND_PROXY_URL names a proxy.

    A GET or HEAD is repeated once, over a new connection and within the same deadline, if a
    reused connection failed before an answer. Nothing else is: a POST may have been obeyed.
    """

    def __init__(self, *, total_seconds: float, proxy: str) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("http://", DeadlineAdapter(total_seconds))
        self.mount("https://", DeadlineAdapter(total_seconds))
        if proxy:
            self.proxies = {"http": proxy, "https": proxy}
        self._total_seconds = total_seconds

    def send(  # type: ignore[override]  # takes less
        self,
        request: requests.PreparedRequest,
        *,
        deadline: float | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Start the clock, and send over the adapter.

        All that requests would do besides is to keep cookies, follow redirects and call
        hooks. Calls of several users share a connection: nothing may stick to it.

        `deadline`, by `time.monotonic()`, is for a call that has begun before this one.
        """
        begun = time.monotonic()
        _call.deadline = begun + self._total_seconds if deadline is None else deadline
        _call.reused = False
        try:
            response = self._send_once(request, stream=stream)
        except requests.ConnectionError:
            if not _call.reused or request.method not in _SAFE_METHODS or request.body:
                raise
            # The pool is given an empty place for the failed connection, and fills it first.
            response = self._send_once(request, stream=stream)
        response.elapsed = timedelta(seconds=time.monotonic() - begun)
        if not stream:
            read_body(response)
        return response

    def _send_once(self, request: requests.PreparedRequest, *, stream: bool) -> requests.Response:
        left = _call.deadline - time.monotonic()
        if left <= 0:
            raise requests.ConnectTimeout("the total deadline has passed", request=request)
        return self.get_adapter(request.url or "").send(
            request,
            stream=stream,
            # A quarter at the most, and twice at the worst (TCP, then TLS): at least half
            # of the time is for the answer.
            timeout=(min(LONGEST_CONNECT_SECONDS, left / 4), min(LONGEST_READ_SECONDS, left)),
            verify=True if self.verify is None else self.verify,
            cert=self.cert,
            proxies=self.proxies,
        )


def read_body(response: requests.Response) -> None:
    """Read the body within the deadline, and unpack no more than LARGEST_ANSWER_BYTES of it.

    Raises what requests raises, and AnswerTooLarge. An error's status counts also without its
    words: one whose body is too large has none.
    """
    parts, size = [], 0
    for part in response.iter_content(_READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            response.close()
            if response.status_code < 400:
                raise AnswerTooLarge("the answer is too large", response=response)
            parts.clear()
            break
    response._content = b"".join(parts)


def session_of_this_thread(*, total_seconds: float) -> BoundedSession:
    """This thread's session with a total time limit for each call, in seconds.

    One a thread, so that each lane keeps its own connection and no pool lock is shared.
    """
    key = (total_seconds, settings.OUTBOUND_PROXY_URL)
    sessions: dict[tuple[float, str], BoundedSession] = _local.__dict__.setdefault("sessions", {})
    if key not in sessions:
        sessions[key] = BoundedSession(total_seconds=total_seconds, proxy=key[1])
    return sessions[key]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, from a number or an HTTP date (RFC 9110, section 10.2.3).

    A date is read against the answer's own Date, so that no clock of ours plays a part.
    None for anything else; a moment that has passed is 0.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        moment, now = map(parsedate_to_datetime, (value, headers.get("Date", "")))
        return max(0.0, (moment - now).total_seconds())
    except (TypeError, ValueError):
        return None
