"""Redirect URIs that Spotify takes, and that come back to this site.

https://developer.spotify.com/documentation/web-api/concepts/redirect_uri
"""

import ipaddress
from urllib.parse import urlsplit

from django.urls import Resolver404, ResolverMatch, resolve


def redirect_uri(raw: str) -> str:
    """A redirect URI as it is written. Raises ValueError for one that cannot work.

    Spotify takes https, or plain http on a literal loopback address, and never "localhost". A
    query or a fragment would not survive: the callback's own is added to it.
    """
    parts = urlsplit(raw)
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or parts.port == 0:
        raise ValueError("not an http address")
    if host == "localhost" or (parts.scheme == "http" and not _is_loopback(host)):
        raise ValueError("a host that Spotify does not take")
    if "?" in raw or "#" in raw or "@" in parts.netloc:
        raise ValueError("more than an address")
    return raw


def view_of(uri: str) -> ResolverMatch | None:
    """What answers its path here; None if no route does."""
    try:
        return resolve(urlsplit(uri).path or "/")
    except Resolver404:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
