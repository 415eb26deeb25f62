"""What the connection page shows of a token: its state, its times and its history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models.functions import Now

from spotify_auth import cooldown, service_pause
from spotify_auth.failure_codes import FailureCode
from spotify_auth.history.unfolding import unfold
from spotify_auth.models import SpotifyToken, TokenEvent
from spotify_auth.timeline import Timeline, timeline

EVENTS_SHOWN = 20
EVENTS_DRAWN = 60
MAY_RECONNECT = {"refused", "unavailable", "service_paused"}
"""What delays a token that has a failure of its own, or that nobody refreshes: a page that waits
offers to reconnect."""
_REASONS_OF_ITS_OWN = {
    cooldown.Reason.CLIENT_REFUSED,
    cooldown.Reason.RATE_LIMITED,
    cooldown.Reason.RESTORING,
}
"""Pauses of which a page that waits has words of its own."""
WARN_BEFORE = timedelta(days=30)
"""How long before the six months are over users are asked to reconnect."""
URGENT_BEFORE = timedelta(days=7)
"""How long before it they are asked more urgently."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconnectBy:
    """When the six months end, if that is soon."""

    at: datetime
    days: int
    """Whole days that are left."""
    urgent: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """A token as its owner may see it. Times in UTC; `now` is PostgreSQL's."""

    state: str
    """connected, reconnecting, reconnect_required, paused or not_connected."""
    delay_reason: str
    """Why it is still reconnecting; see `delay_reason_of`."""
    token: SpotifyToken | None
    now: datetime | None
    events: Sequence[TokenEvent]
    timeline: Timeline | None
    reconnect_by: ReconnectBy | None

    @property
    def may_reconnect(self) -> bool:
        """Whether reconnecting may end what waiting may not."""
        return self.delay_reason in MAY_RECONNECT

    @property
    def content_version(self) -> str:
        """Version of the page's content; see `content_version`."""
        return content_version(self.state, self.delay_reason)


def content_version(state: str, delay_reason: str) -> str:
    """Version of what a page says of a state and of what delays its end.

    The browser sends it back, so that an unchanged page is not announced again.
    """
    return f"{state}-{delay_reason}" if delay_reason else state


def connection_of(user_id: int) -> Connection:
    """The state of a user's connection, without the tokens themselves."""
    token, now = _token_and_now(user_id)
    events = unfold(TokenEvent.objects.filter(user_id=user_id)[:EVENTS_DRAWN])[:EVENTS_DRAWN]
    state = _state(token, now=now) if token else "not_connected"
    connected = token if state != "not_connected" else None
    return Connection(
        state=state,
        delay_reason=_delay_reason(token) if token and state == "reconnecting" else "",
        token=token,
        now=now if token else None,
        events=events[:EVENTS_SHOWN],
        timeline=timeline(connected, events, now=now) if connected else None,
        reconnect_by=_reconnect_soon(token, now=now) if token else None,
    )


def reconnect_soon(user_id: int) -> ReconnectBy | None:
    """When a user's six months end, if that is soon and the connection still works."""
    token, now = _token_and_now(user_id)
    return _reconnect_soon(token, now=now) if token else None


def delay_reason_of(user_id: int) -> str:
    """Why a stale token has not been renewed yet, as far as that is known.

    service_paused, client_refused, rate_limited, restoring, refused, unavailable, or blank: it
    simply takes a moment.
    """
    token, _ = _token_and_now(user_id)
    return _delay_reason(token) if token else ""


def _token_and_now(user_id: int) -> tuple[SpotifyToken | None, datetime]:
    """The row without the tokens themselves, and PostgreSQL's clock, from one query."""
    row = (
        SpotifyToken.objects.filter(user_id=user_id)
        .defer("access_token", "refresh_token")
        .annotate(now=Now())
        .first()
    )
    return (row, row.now) if row else (None, datetime.min.replace(tzinfo=UTC))


def _delay_reason(token: SpotifyToken) -> str:
    if service_pause.current():
        return "service_paused"
    reason = cooldown.reason()
    if reason in _REASONS_OF_ITS_OWN:
        return reason
    if token.suspected_at:
        return "refused"
    return "unavailable" if reason or token.failures else ""


def _reconnect_soon(token: SpotifyToken, *, now: datetime) -> ReconnectBy | None:
    if token.status != SpotifyToken.Status.ACTIVE or not token.authorized_at_known:
        return None
    left = token.reauthorize_by - now
    if left >= WARN_BEFORE:
        return None
    return ReconnectBy(at=token.reauthorize_by, days=max(left.days, 0), urgent=left < URGENT_BEFORE)


def _state(token: SpotifyToken, *, now: datetime) -> str:
    if token.status in {SpotifyToken.Status.DISCONNECTED, SpotifyToken.Status.REVOKED}:
        return "not_connected"
    if token.status == SpotifyToken.Status.RECONNECT_REQUIRED:
        return "reconnect_required"
    # As the dashboard sees it: a token with too little life left is not given out.
    needed = timedelta(seconds=settings.ACCESS_TOKEN_MINIMUM_SECONDS)
    if token.expires_at > now + needed:
        return "connected"
    if token.last_error == FailureCode.UNDECRYPTABLE:
        return "reconnect_required"
    return "paused" if token.status == SpotifyToken.Status.PAUSED else "reconnecting"
