"""Spotify's Web API for pages: fresh tokens, bounded calls, typed errors.

`session_for(user)` is a requests.Session for one user; `get_all` makes several calls at
once from one read of the token (`aget_all` in async code); `get` makes one with a token in hand.
"""

from types import ModuleType
from typing import Any

from spotify_auth.tokens import UserOrId
from spotify_auth.web_api.calls import Answer, aget_all, get, get_all
from spotify_auth.web_api.errors import (
    BadRequest,
    Forbidden,
    InsufficientScope,
    NotAllowed,
    NotFound,
    OwnerWithoutPremium,
    RateLimited,
    Unauthorized,
    Unavailable,
    WebApiError,
)
from spotify_auth.web_api.response import SpotifyResponse
from spotify_auth.web_api.session import SpotifySession, session_for
from spotify_auth.web_api.transport import ForeignAddress

__all__ = [
    "Answer",
    "BadRequest",
    "Forbidden",
    "ForeignAddress",
    "InsufficientScope",
    "NotAllowed",
    "NotFound",
    "OwnerWithoutPremium",
    "RateLimited",
    "SpotifyResponse",
    "SpotifySession",
    "Unauthorized",
    "Unavailable",
    "WebApiError",
    "aget_all",
    "async_session_for",
    "get",
    "get_all",
    "session_for",
]


def async_session_for(
    user: UserOrId, *, requested_by: str = "", library: ModuleType | None = None
) -> Any:
    """A session for async code that calls the Web API as this user.

    `async with web_api.async_session_for(user) as spotify: await spotify.get("/me")`. It is an
    `AsyncClient` of httpx, or of httpx2 (whichever is installed, or `library`), and keeps what
    `session_for` promises: its addresses, 8 s, the pace, one more look at the token after a 401,
    and the same errors; `.json()` is None when Spotify has nothing to say. Its connections end
    with it. Raises ImportError where neither library is installed.
    """
    # Not before: who has no async code needs neither library.
    from spotify_auth.contrib import httpx_session

    return httpx_session.async_session_for(user, requested_by=requested_by, library=library)
