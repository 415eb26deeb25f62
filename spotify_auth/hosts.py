"""Which hosts a connection reaches without crossing a network of strangers."""

import ipaddress

_PRIVATE_ENDINGS = (".internal", ".intranet", ".lan", ".local", ".localhost", ".home.arpa")


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Whether a host is on a private network, as far as its name or address tells.

    A name without a dot ("redis") is one: a container's, or one of the own domain.
    """
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.lower().endswith(_PRIVATE_ENDINGS)
