"""urllib3's connections, which neither send nor read anything after a call's deadline.

requests' time-outs apply to each read from the socket, so that a server which sends
one byte every few seconds, in the headers or in the body, may hold a call, and with it
a thread, for ever. Here each read is allowed what is left of one deadline.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError
from urllib3.poolmanager import PoolManager

from spotify_auth import tcp


class _Call(threading.local):
    """What the call that this thread is making knows; connections and pools read it."""

    deadline = 0.0
    reused = False
    """Whether the call was sent over one."""


this_call = _Call()


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
        super().connect()  # type: ignore[misc]  # from HTTPConnection
        # Looking up the host, and trying each of its addresses, may take any time.
        if time.monotonic() >= this_call.deadline:
            self.close()  # type: ignore[attr-defined]
            raise ConnectTimeoutError(self, "the total deadline passed while connecting")

    def response_class(self, sock: socket.socket, **kwargs: Any) -> _DeadlineResponse:
        # http.client calls this for every answer, that of a proxy's CONNECT included.
        return _DeadlineResponse(sock, deadline=this_call.deadline, **kwargs)


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
            if rested > tcp.LONGEST_REST_SECONDS:
                connection.close()  # it connects again when it is used
        this_call.reused = connection.sock is not None
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
        self._options = tcp.options(total_seconds)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, socket_options=self._options)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        kwargs["socket_options"] = self._options
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = dict(self.pools)
        return manager
