"""The authorization code flow: where a login begins, and what its code is worth."""

import base64
import hashlib
import secrets
from urllib.parse import urlencode

from spotify_auth.accounts_service import spotify, token_endpoint, transport
from spotify_auth.accounts_service.answers import Unreadable
from spotify_auth.accounts_service.errors import AccountsServiceError, grant_of
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.conf import settings
from spotify_auth.failure_codes import FailureCode
from spotify_auth.secrecy import forgets_variables


def new_code_verifier() -> str:
    """A PKCE code verifier: 64 characters, 384 random bits (RFC 7636, section 4.1)."""
    return secrets.token_urlsafe(48)


def code_challenge(code_verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@forgets_variables
def authorize_url(*, state: str, code_verifier: str, show_dialog: bool) -> str:
    """The page on which the user approves this application.

    With `show_dialog` Spotify asks even a user who has approved before, and offers another
    account.
    """
    query = {
        "client_id": settings.SPOTIFY_CLIENT_ID,
        "response_type": "code",
        "redirect_uri": settings.SPOTIFY_REDIRECT_URI,
        "scope": spotify.SCOPE_SEPARATOR.join(settings.SPOTIFY_SCOPES),
        "state": state,
        "code_challenge_method": spotify.CODE_CHALLENGE_METHOD,
        "code_challenge": code_challenge(code_verifier),
        spotify.ASK_AGAIN: "true" if show_dialog else "false",
    }
    return f"{settings.SPOTIFY_ACCOUNTS_URL}{spotify.AUTHORIZE_PATH}?{urlencode(query)}"


@forgets_variables
def exchange_code(*, code: str, code_verifier: str) -> Grant:
    """Trade an authorization code for the first token pair (RFC 6749, section 4.1.3).

    The one call to the token endpoint that a request may make, in the login callback.
    Raises the errors of `accounts_service.errors`, also when the answer has no refresh
    token, without which nothing can be kept fresh.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": settings.SPOTIFY_REDIRECT_URI,
        "code_verifier": code_verifier,
    }
    answer = token_endpoint.post(
        form,
        transport.of_this_thread(),
        lifetime=settings.ACCESS_TOKEN_LIFETIME_SECONDS,
    )
    grant = grant_of(answer)
    if grant.refresh_token is None:
        raise AccountsServiceError(Unreadable(FailureCode.ANSWER_WITHOUT_REFRESH_TOKEN))
    return grant
