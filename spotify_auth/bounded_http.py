"""HTTP sessions whose every answer must be complete within a total time limit.

requests' time-outs apply to each read from the socket, so that a server which sends
one byte every few seconds, in the headers or in the body, may hold a call, and with it
a row lock, for ever. Here each read is allowed what is left of one deadline.
"""

import http.client
import io
import socket
import threading
import time
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

_local = threading.local()


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
        self._sock.settimeout(min(left, self._sock.gettimeout() or left))
        read: int = self._stream.readinto(buffer)
        return read

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
    """A connection whose answers must be read whole within `total_seconds`."""

    total_seconds: float

    def getresponse(self) -> Any:
        deadline = time.monotonic() + self.total_seconds
        self.response_class = partial(_DeadlineResponse, deadline=deadline)
        return super().getresponse()  # type: ignore[misc]  # from HTTPConnection


class DeadlineAdapter(HTTPAdapter):
    """Mounted on a requests.Session: every answer must be complete within a limit."""

    def __init__(self, *, total_seconds: float, **kwargs: Any) -> None:
        limits = {"total_seconds": total_seconds}
        plain = type("_Plain", (_DeadlineMixin, HTTPConnection), limits)
        tls = type("_Tls", (_DeadlineMixin, HTTPSConnection), limits)
        self._pools = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }
        super().__init__(**kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use connections that know the deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """The same behind a proxy."""
        manager: PoolManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def session_of_this_thread(*, total_seconds: float) -> requests.Session:
    """This thread's session with a total deadline for answers, in seconds.

    One a thread, so that each lane keeps its own connection and no pool lock is shared.
    It follows no cookie, makes no retry and reads nothing from the environment: the
    search for proxies and .netrc costs a quarter of a call's CPU, and a stray .netrc
    would replace the Authorization header. OUTBOUND_PROXY_URL names a proxy.
    """
    key = (total_seconds, settings.OUTBOUND_PROXY_URL)
    sessions: dict[tuple[float, str], requests.Session] = _local.__dict__.setdefault("by_key", {})
    if key not in sessions:
        sessions[key] = _bounded_session(*key)
    return sessions[key]


def _bounded_session(total_seconds: float, proxy: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    # Calls of several users share the connection: nothing may stick to it.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter(total_seconds=total_seconds))
    if proxy:
        session.proxies = {"http": proxy, "https": proxy}
    return session
