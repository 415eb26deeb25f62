"""The token endpoint, asked directly."""

from spotify_auth.accounts_service import refreshing, transport
from spotify_auth.accounts_service.answers import Answer


def refresh(refresh_token: str) -> Answer:
    """Exchange a refresh token, over this thread's connection."""
    return refreshing.refresh(refresh_token, transport.of_this_thread(), lifetime=3600)
