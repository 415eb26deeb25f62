"""What Spotify limits by itself: an endpoint, which is an address without its IDs and its query."""

import re
from urllib.parse import urlsplit

_WORD = re.compile(r"[a-z][a-z-]{0,30}")
_MOST_SEGMENTS = 8


def endpoint_of(address: str) -> str:
    """The endpoint of an address: "/v1/playlists/*/items".

    A segment is kept if it is a plain word, so that an ID, and the name of a user, is neither
    an endpoint of its own nor a part of a log line.
    """
    segments = urlsplit(address).path.strip("/").split("/")[:_MOST_SEGMENTS]
    before = ["", *segments]
    return "".join(
        f"/{segment if _WORD.fullmatch(segment) or segment == 'v1' else '*'}"
        if above != "users"
        else "/*"
        for above, segment in zip(before, segments, strict=False)
    )
