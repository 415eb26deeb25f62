"""`{% spotify_connection as spotify %}`: the state of the user's access, for any page."""

from dataclasses import dataclass
from datetime import datetime

from django import template

from spotify_auth import sentences
from spotify_auth.problems import problem_of
from spotify_auth.tokens import TokenUnavailable
from spotify_auth.web_api import reading

register = template.Library()


@dataclass(frozen=True, kw_only=True, slots=True)
class SpotifyConnection:
    """What a template may know of a token: everything but the token."""

    state: str
    """connected, reconnecting, reconnect_required or not_connected."""
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    """When the access token expires, in UTC."""
    reason: str = ""
    """Why a reconnect is required: invalid_grant, answer_lost, …"""


@register.filter
def why_reconnect(reason: str) -> str:
    """The sentence about a reason: `{{ spotify.reason|why_reconnect }}`."""
    return sentences.why_reconnect(reason)


@register.simple_tag(takes_context=True)
def spotify_connection(context: template.Context) -> SpotifyConnection:
    """Read the state for the request's user: one SELECT; a stale token is nudged."""
    request = context["request"]
    try:
        token = reading.read(request.user, requested_by=reading.page_of(request))
    except TokenUnavailable as error:
        problem = problem_of(error)
        return SpotifyConnection(state=problem.code, reason=problem.reason)
    return SpotifyConnection(state="connected", scopes=token.scopes, expires_at=token.expires_at)
