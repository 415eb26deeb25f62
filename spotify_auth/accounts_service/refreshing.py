"""Trading a refresh token for a fresh pair. Only background lanes may import this."""

from spotify_auth.accounts_service import token_endpoint
from spotify_auth.accounts_service.answers import Answer
from spotify_auth.accounts_service.transport import Transport
from spotify_auth.secrecy import forgets_variables


@forgets_variables
def refresh(refresh_token: str, transport: Transport, *, lifetime: float) -> Answer:
    """Exchange a refresh token (RFC 6749, section 6). An answer is a value, never raised.

    The caller must hold the token's row lock: Spotify may answer with a new refresh
    token and kill this one at once. `lifetime` in seconds is what the last access token had.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return token_endpoint.post(form, transport, lifetime=lifetime)
