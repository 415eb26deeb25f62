"""What the connection page shows of a token: its state, its times and its history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
    row = (
        SpotifyToken.objects.filter(user_id=user_id)
        .defer("access_token", "refresh_token")
        .annotate(now=Now())
        .first()
    )
    return Connection(
        state=_state(row, now=row.now) if row else "not_connected",
        token=row,
        now=row.now if row else None,
        events=list(TokenEvent.objects.filter(user_id=user_id)[:EVENTS_SHOWN]),
    )


def _state(token: SpotifyToken, *, now: datetime) -> str:
    if token.status in {SpotifyToken.Status.DISCONNECTED, SpotifyToken.Status.REVOKED}:
        return "not_connected"
    if token.status == SpotifyToken.Status.RECONNECT_REQUIRED:
        return "reconnect_required"
    return "connected" if token.expires_at > now else "reconnecting"
