"""Where webhooks may lead: nowhere inside our own network, unless a setting allows it.

An address is checked twice: as it is written when an administrator types it, and as it is
connected to, since a name may lead elsewhere a moment later (DNS rebinding).
"""

import ipaddress
import re
from urllib.parse import urlsplit

from spotify_auth.client_address import Address
from spotify_auth.conf import settings
from spotify_auth.hosts import is_loopback
from spotify_auth.webhooks import networks

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses in it lead to the IPv4 address in their last four bytes (RFC 6052)."""
_INSIDE_TOO = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # of protocols; 192.0.0.192 is where Oracle's cloud keeps credentials
        "168.63.129.16",  # Azure's, in each of its virtual networks
        "192.88.99.0/24",  # relays of 6to4, nearby ones
        "fec0::/10",  # what fc00::/7 is now
        "3fff::/20",  # of documentation
    )
)
"""Never public, though Python, or this version of it, takes them for that."""


_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)
"""Of a host. What else urlsplit takes for one, requests refuses, or takes for another."""


class BadAddress(ValueError):
    """An address that no webhook is sent to; the message says why."""


def check(url: str) -> None:
    """Raises BadAddress for an address that cannot be meant, or that is not allowed."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise BadAddress("This is no address.") from None
    if not host or parts.scheme not in {"https", "http"}:
        raise BadAddress("An address begins with https:// and a host.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadAddress("An address has no user, no password and no fragment (#).")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadAddress("An address has visible ASCII characters only.")
    literal = _parse(host)
    if literal is None and not _NAME.fullmatch(host):
        raise BadAddress("This is no host.")
    if literal is not None and not is_allowed(literal):
        raise BadAddress(f"{host} is not a public address, and WEBHOOK_ALLOWED_NETWORKS lacks it.")
    if parts.scheme == "http" and not _is_allowed_loopback(host):
        raise BadAddress(
            "Webhooks are sent by https. By http they are sent to loopback addresses, if "
            "WEBHOOK_ALLOWED_NETWORKS has them."
        )


def is_allowed(address: Address) -> bool:
    """Whether a connection to this address may be made."""
    real = _embedded(address)
    allowed = networks.parsed(networks.as_written(settings.WEBHOOK_ALLOWED_NETWORKS))
    if any(real in network or address in network for network in allowed):
        return True
    if any(real in network for network in _INSIDE_TOO):
        return False
    return real.is_global and not real.is_multicast and not real.is_reserved


def _is_allowed_loopback(host: str) -> bool:
    if not is_loopback(host):
        return False
    return is_allowed(_parse(host) or ipaddress.IPv4Address("127.0.0.1"))


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it is one of those that do."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _parse(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
