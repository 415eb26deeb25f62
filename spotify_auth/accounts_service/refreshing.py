"""Trading a refresh token for a fresh pair. Only background lanes may import this."""

from spotify_auth.accounts_service import token_endpoint
from spotify_auth.accounts_service.grant import Grant


def refresh(refresh_token: str) -> Grant:
    """Exchange a refresh token (RFC 6749, section 6).

    The caller must hold the token's row lock: Spotify may answer with a new refresh
    token and kill this one at once. Raises the errors of `accounts_service.errors`.
    """
    return token_endpoint.post({"grant_type": "refresh_token", "refresh_token": refresh_token})
