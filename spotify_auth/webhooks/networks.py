"""The setting WEBHOOK_ALLOWED_NETWORKS: private networks that webhooks may be sent to."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from spotify_auth.client_address import Network


def as_written(value: str | Sequence[str]) -> str:
    """The setting as one text. Raises ValueError for anything but addresses and networks."""
    raw = value if isinstance(value, str) else ",".join(value)
    parsed(raw)
    return raw


@lru_cache
def parsed(raw: str) -> tuple[Network, ...]:
    """The networks of that text."""
    return tuple(ipaddress.ip_network(word) for word in raw.replace(",", " ").split())
