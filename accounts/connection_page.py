"""What the connection page shows of a token: its state, its times and its history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models.functions import Now

from spotify_auth.models import SpotifyToken, TokenEvent

EVENTS_SHOWN = 20
WARN_BEFORE = timedelta(days=30)
"""How long before the six months are over people are asked to reconnect."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """A token as its owner may see it. Times in UTC; `now` is PostgreSQL's."""

    state: str
    """connected, reconnecting, reconnect_required or not_connected."""
    token: SpotifyToken | None
    now: datetime | None
    events: Sequence[TokenEvent]
    reconnect_by: datetime | None
    """When the six months end, if that is soon."""


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
        reconnect_by=_reconnect_soon(row, now=row.now) if row else None,
    )


def reconnect_soon(user_id: int) -> datetime | None:
    """When a user's six months end, if that is soon and the connection still works."""
    return (
        SpotifyToken.objects.filter(
            user_id=user_id,
            status=SpotifyToken.Status.ACTIVE,
            reauthorize_by__lt=Now() + WARN_BEFORE,
        )
        .values_list("reauthorize_by", flat=True)
        .first()
    )


def _reconnect_soon(token: SpotifyToken, *, now: datetime) -> datetime | None:
    """The same for a row in hand."""
    soon = token.reauthorize_by < now + WARN_BEFORE
    return token.reauthorize_by if soon and token.status == SpotifyToken.Status.ACTIVE else None


def _state(token: SpotifyToken, *, now: datetime) -> str:
    if token.status in {SpotifyToken.Status.DISCONNECTED, SpotifyToken.Status.REVOKED}:
        return "not_connected"
    if token.status == SpotifyToken.Status.RECONNECT_REQUIRED:
        return "reconnect_required"
    # As the dashboard sees it: a token with too little life left is not given out.
    needed = timedelta(seconds=settings.ACCESS_TOKEN_MINIMUM_SECONDS)
    return "connected" if token.expires_at > now + needed else "reconnecting"
