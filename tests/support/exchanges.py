"""The token endpoint, asked directly."""

from spotify_auth.accounts_service import refreshing, token_endpoint
from spotify_auth.accounts_service.answers import Answer


def refresh(refresh_token: str) -> Answer:
    """Exchange a refresh token, over this thread's session."""
    http = token_endpoint.session_of_this_thread()
    return refreshing.refresh(refresh_token, http, lifetime=3600)
