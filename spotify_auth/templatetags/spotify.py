"""`{% spotify_connection as spotify %}`: the state of the user's access, for any page."""

from django import template
from django.core.exceptions import SynchronousOnlyOperation

from spotify_auth import connection_state, sentences
from spotify_auth.connection_state import SpotifyConnection

register = template.Library()


@register.filter
def why_reconnect(reason: str) -> str:
    """The sentence about a reason: `{{ spotify.reason|why_reconnect }}`."""
    return sentences.why_reconnect(reason)


@register.simple_tag(takes_context=True)
def spotify_connection(context: template.Context) -> SpotifyConnection:
    """The state for the request's user: what was read for its view, or one SELECT.

    In an event loop it cannot ask the database: it raises SynchronousOnlyOperation, with what to
    do, unless `spotify_required` or `aconnection_of` has read before.
    """
    request = context["request"]
    kept = connection_state.kept(request)
    if kept is not None:
        return kept
    try:
        return connection_state.connection_of(request)
    except SynchronousOnlyOperation:
        raise SynchronousOnlyOperation(
            "{% spotify_connection %} in an async view: write `await "
            "connection_state.aconnection_of(request)` before, or render in a thread: "
            "`await sync_to_async(render)(request, …)`."
        ) from None
