"""Which pictures a page may show: those whose host the Content-Security-Policy allows.

A profile's picture may come from another company's host. The browser would refuse it and
show a broken picture, so the page shows its placeholder instead.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings


def first_allowed(images: Iterable[Any]) -> str:
    """The address of the first picture that a page may show, or a blank string.

    `images` are Spotify's: objects with a `url`, and whatever else may stand in their place.
    """
    for image in images:
        address = image.get("url") if isinstance(image, dict) else None
        if isinstance(address, str) and is_allowed(address):
            return address
    return ""


def is_allowed(address: str) -> bool:
    """Whether a source of the policy's `img-src` covers this address."""
    try:
        picture = urlsplit(address)
        return any(_covers(urlsplit(source), picture) for source in _sources())
    except ValueError:  # no address, or a port that is no number
        return False


def _sources() -> list[str]:
    """The policy's sources that are addresses; 'self' is not: no picture of Spotify's is here."""
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    return [source for source in directives["img-src"] if "://" in source]


def _covers(source: SplitResult, picture: SplitResult) -> bool:
    if (source.scheme, source.port) != (picture.scheme, picture.port):
        return False
    allowed, host = source.hostname or "", picture.hostname or ""
    if allowed.startswith("*."):
        return host.endswith(allowed[1:])
    return host == allowed
