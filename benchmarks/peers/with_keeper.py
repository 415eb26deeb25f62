"""This service as it is: pages read, workers refresh."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from accounts.models import User
from accounts.users import user_for_account
from spotify_auth import connections, tokens, web_api
from spotify_auth.models import SpotifyToken
from tests.support.tokens import grant_of

# Not only ReconnectRequired: "reconnecting to Spotify" would count against us too.
REFUSED = (tokens.TokenUnavailable,)


def user_for(persona: str, answer: Mapping[str, Any]) -> User:
    """The user that a login makes."""
    return user_for_account(account_id=answer["account_id"], display_name=persona)


def save_login(request: HttpRequest, answer: Mapping[str, Any]) -> None:
    """As the login callback stores it."""
    connections.connect(
        user_id=_user_id(request), grant=grant_of(answer), issued_at=connections.database_now()
    )


def read(request: HttpRequest) -> str:
    """One row, decrypted."""
    return tokens.access_token_for(_user_id(request)).value


def profile(request: HttpRequest) -> dict[str, Any]:
    """As the service's own pages call the Web API."""
    answer = web_api.get_all(_user_id(request), {"me": ("/me", {})})["me"]
    if isinstance(answer, web_api.WebApiError):
        raise answer
    return answer or {}


def stored_refresh_token(request: HttpRequest) -> str:
    """From the model, decrypted."""
    token = SpotifyToken.objects.get(pk=_user_id(request)).refresh_token
    return token or ""


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None
    return request.user.pk
