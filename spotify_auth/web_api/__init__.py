"""Spotify's Web API for pages: fresh tokens, bounded calls, typed errors.

`session_for(user)` is a requests.Session for one user; `get_all` makes several calls at
once from one read of the token (`aget_all` in async code); `get` makes one with a token in hand.
"""

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
    "get",
    "get_all",
    "session_for",
]
