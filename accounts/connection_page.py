"""What the connection page shows of a token: its state, its times and its history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from spotify_auth.models import SpotifyToken, TokenEvent

EVENTS_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """A token as its owner may see it. Times in UTC; `now` is PostgreSQL's."""

    state: str
    """connected, reconnecting, reconnect_required or not_connected."""
    token: SpotifyToken | None
    now: datetime | None
    events: Sequence[TokenEvent]


def connection_of(user_id: int) -> Connection:
    """The state of a user's connection, without the tokens themselves."""
    token = (
        SpotifyToken.objects.filter(user_id=user_id)
        .defer("access_token", "refresh_token")
        .annotate(
            now=Now(),
            fresh=ExpressionWrapper(Q(expires_at__gt=Now()), output_field=BooleanField()),
        )
        .first()
    )
    return Connection(
        state=_state(token),
        token=token,
        now=token.now if token else None,
        events=list(TokenEvent.objects.filter(user_id=user_id)[:EVENTS_SHOWN]),
    )


def _state(token: SpotifyToken | None) -> str:
    if token is None or token.status in {
        SpotifyToken.Status.DISCONNECTED,
        SpotifyToken.Status.REVOKED,
    }:
        return "not_connected"
    if token.status == SpotifyToken.Status.RECONNECT_REQUIRED:
        return "reconnect_required"
    return "connected" if token.fresh else "reconnecting"
