"""Sending one webhook over HTTP, and what came back of it, in a word."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from spotify_auth.http_client import BoundedSession
from spotify_auth.http_connections import (
    DeadlineAdapter,
    PlainConnection,
    PlainPool,
    TlsConnection,
    TlsPool,
)
from spotify_auth.secrecy import forgets_variables
from spotify_auth.webhooks.addresses import is_allowed

TOTAL_SECONDS = 15.0
"""The longest that a receiver may take, as the convention has it."""
_READ_BYTES = 2048
_MOST_ADDRESSES = 3
"""Of one name: each may take a quarter of the time to connect."""


class AddressRefused(NewConnectionError):
    """The host has no address that webhooks may be sent to. Nothing was sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a receiver said; `status` is None where there was no answer."""

    status: int | None
    excerpt: str
    """The beginning of the body, as it came; or why there is no answer."""


class _GuardedMixin:
    """A connection to an address that was looked at, whatever the name leads to afterwards."""

    host: str
    port: int
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        error: Exception = AddressRefused(self, "no allowed address")  # type: ignore[arg-type]
        for address in _allowed_addresses(name, self.port):
            # The name stays what TLS and the Host header go by.
            self._dns_host = address
            try:
                connected: socket.socket = super()._new_conn()  # type: ignore[misc]
                return connected
            except HTTPError as failure:
                error = failure
            finally:
                self._dns_host = name
        raise error


def _allowed_addresses(name: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = dict.fromkeys(str(where[0]).partition("%")[0] for *_, where in found)
    allowed = [each for each in addresses if is_allowed(ipaddress.ip_address(each))]
    return allowed[:_MOST_ADDRESSES]


class _Plain(_GuardedMixin, PlainConnection):  # type: ignore[misc]  # a method
    pass


class _Tls(_GuardedMixin, TlsConnection):  # type: ignore[misc]  # a method
    pass


class _GuardedPlainPool(PlainPool):
    ConnectionCls = _Plain


class _GuardedTlsPool(TlsPool):
    ConnectionCls = _Tls


class _GuardedAdapter(DeadlineAdapter):
    pools = {"http": _GuardedPlainPool, "https": _GuardedTlsPool}


@forgets_variables
def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send, within TOTAL_SECONDS, by a connection of its own; no redirect is followed.

    OUTBOUND_PROXY_URL is not used: a proxy would look the host up, unseen by the guard.
    """
    with BoundedSession(total_seconds=TOTAL_SECONDS, proxy="") as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _GuardedAdapter(TOTAL_SECONDS))
        request = requests.Request(
            "POST",
            url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": "Spotify-Token-Keeper-Webhooks/1",
                "Connection": "close",
                **headers,
            },
        )
        try:
            response = session.send(request.prepare(), stream=True)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return Answer(status=None, excerpt=_why(error))
        with response:
            return Answer(status=response.status_code, excerpt=_beginning(response))


def _beginning(response: requests.Response) -> str:
    try:
        raw: bytes = response.raw.read(_READ_BYTES, decode_content=False)
    except (HTTPError, OSError, ValueError):  # the last for a chunk of size -2
        return ""  # the status says enough
    return raw.decode("utf-8", "replace")


def _why(error: Any) -> str:
    """Why there is no answer, in words of our own: theirs may hold anything."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, AddressRefused):
            return "Not sent: the host is unknown, or has no address that is allowed."
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None)]
        waiting += [arg for arg in each.args if isinstance(arg, Exception)]
    if isinstance(error, requests.Timeout | TimeoutError):
        return f"No answer within {TOTAL_SECONDS:.0f} s."
    if isinstance(error, requests.exceptions.SSLError):
        return "Its certificate was refused."
    return f"No connection, or no HTTP: {type(error).__name__}."
