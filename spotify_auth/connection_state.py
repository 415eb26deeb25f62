"""The state of a user's access to Spotify, as a template may know it: everything but the token."""

from dataclasses import dataclass
from datetime import datetime

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from spotify_auth.problems import problem_of
from spotify_auth.tokens import AccessToken, TokenUnavailable
from spotify_auth.web_api import reading

_PLACE = "_spotify_connection"
"""Where a request keeps what was read for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpotifyConnection:
    """What a template may know of a token."""

    state: str
    """connected, reconnecting, reconnect_required, paused or not_connected."""
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    """When the access token expires, in UTC."""
    reason: str = ""
    """Why a reconnect is required: invalid_grant, answer_lost, …"""


def connection_of(request: HttpRequest) -> SpotifyConnection:
    """Read the state for the request's user: one SELECT; a stale token is nudged."""
    try:
        token = reading.read(request.user, requested_by=reading.page_of(request))
    except TokenUnavailable as error:
        problem = problem_of(error)
        return SpotifyConnection(state=problem.code, reason=problem.reason)
    return _of(token)


async def aconnection_of(request: HttpRequest) -> SpotifyConnection:
    """The same for an async view, and for its templates: they show what was read here.

    It loads `request.user` too, so that what templates say of the user needs no query.
    """
    connection = await sync_to_async(connection_of)(request)
    setattr(request, _PLACE, connection)
    return connection


def keep(request: HttpRequest, token: AccessToken) -> None:
    """Let the templates of this request show what was just read."""
    setattr(request, _PLACE, _of(token))


def kept(request: HttpRequest) -> SpotifyConnection | None:
    """What was read for the templates of this request, if it was."""
    connection: SpotifyConnection | None = getattr(request, _PLACE, None)
    return connection


def _of(token: AccessToken) -> SpotifyConnection:
    return SpotifyConnection(state="connected", scopes=token.scopes, expires_at=token.expires_at)
