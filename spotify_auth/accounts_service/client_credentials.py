"""A token for the application itself, which is thrown away: are the credentials right?

Only the management command `doctor` may import this.
"""

from spotify_auth.accounts_service import token_endpoint, transport
from spotify_auth.accounts_service.answers import Answer
from spotify_auth.conf import settings
from spotify_auth.secrecy import forgets_variables


@forgets_variables
def ask() -> Answer:
    """One request (RFC 6749, section 4.4.2). An answer is a value, never raised.

    https://developer.spotify.com/documentation/web-api/tutorials/client-credentials-flow
    """
    return token_endpoint.post(
        {"grant_type": "client_credentials"},
        transport.of_this_thread(),
        lifetime=settings.ACCESS_TOKEN_LIFETIME_SECONDS,
    )
