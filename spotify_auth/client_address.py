"""Whose address a request came from, behind proxies too: for limits by address, and for log lines.

`X-Forwarded-For` is a list to which each proxy appends the address that it was called from.
Everything to the left of what our own proxies wrote is the visitor's to invent, so the list is
read from its right end, and only as far as the setting TRUSTED_PROXIES goes.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from django.http import HttpRequest

from spotify_auth.conf import settings

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Trusted: TypeAlias = int | tuple[Network, ...]
"""How many proxies stand before this site, or the networks that they call from."""

UNKNOWN = "unknown"
"""The address of a client that nobody names, such as one behind an untrusted Unix socket."""

_MOST_PROXIES = 10


def client_address(request: HttpRequest) -> str:
    """The client's IP address in its shortest form, or UNKNOWN. Safe for a log line.

    It is the right-most address that is none of TRUSTED_PROXIES; if all are, the left-most one.
    """
    trusted = _trusted(as_written(settings.TRUSTED_PROXIES))
    peer = _parse(request.META.get("REMOTE_ADDR", ""))
    if not is_from_our_proxy(request):
        return str(peer or UNKNOWN)
    client = peer
    rest = request.META.get("HTTP_X_FORWARDED_FOR", "")
    for place in range(1, _MOST_PROXIES + 1):
        rest, _, entry = rest.rpartition(",")
        address = _parse(entry)
        if address is None:
            break  # the end of the list, or garbage, which a proxy of ours did not write
        client = address
        if not _is_trusted(trusted, place, address):
            break
    return str(client or UNKNOWN)


def is_from_our_proxy(request: HttpRequest) -> bool:
    """Whether what calls this site is a proxy of TRUSTED_PROXIES, whose headers count."""
    trusted = _trusted(as_written(settings.TRUSTED_PROXIES))
    peer = _parse(request.META.get("REMOTE_ADDR", ""))
    # Without an address the peer is a process of this host that came by a Unix socket.
    return _is_trusted(trusted, 0, peer) if peer else bool(trusted)


def address_group(address: str) -> str:
    """What one client can choose freely from: an IPv6 address's /64, an IPv4 address itself.

    For counting by address: whoever has one IPv6 address usually has 2^64 of them.
    """
    return _network_of(address, 64) or address


def address_block(address: str) -> str | None:
    """The /48 of an IPv6 address, as a customer or a small provider may have one; None for IPv4."""
    return _network_of(address, 48)


def _network_of(address: str, prefix: int) -> str | None:
    """The network of this length around an IPv6 address; None for every other one."""
    parsed = _parse(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return None
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def as_written(value: str | int | Sequence[str]) -> str:
    """TRUSTED_PROXIES as one text: a number, or addresses and networks with commas.

    Raises ValueError for anything else, and for networks that trust everybody.
    """
    raw = str(value) if isinstance(value, (str, int)) else ",".join(value)
    _trusted(raw)
    return raw


@lru_cache
def _trusted(raw: str) -> Trusted:
    words = raw.replace(",", " ").split()
    if len(words) == 1 and words[0].isdecimal():
        count = int(words[0])
        if count > _MOST_PROXIES:
            raise ValueError("more proxies than any site has")
        return count
    networks = tuple(ipaddress.ip_network(word) for word in words)
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network that is the whole Internet")
    return networks


def _is_trusted(trusted: Trusted, place: int, address: Address) -> bool:
    """Whether a proxy of ours is there; `place` counts from the peer, which is 0."""
    if isinstance(trusted, int):
        return place < trusted
    return any(address in network for network in trusted)


def _parse(raw: str) -> Address | None:
    """An address as proxies write it: IPv6 in brackets or not, with a port or not."""
    host = raw.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        # A zone ("%eth0") may be any text, and means something on the host alone.
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
