"""How a token is: one word for a badge, what it means, and what an operator can do about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

from spotify_auth.failure_codes import FailureCode
from spotify_auth.freshness import EXPIRING_SECONDS
from spotify_auth.models import SpotifyToken

OVERDUE = timedelta(seconds=60)
"""A token that is due waits for a worker for some seconds. One that waits for longer is overdue."""
EXPIRING = timedelta(seconds=EXPIRING_SECONDS)
"""A token with less left that should have been refreshed is about to expire."""
RECONNECT_SOON = timedelta(days=30)
"""How long before the six months are over a reconnect is due."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A kind of token, as the admin shows it."""

    code: str
    label: str
    tone: str
    """good, wait, bad or off: the colour."""
    sign: str
    """The shape, for whoever does not see the colour."""
    means: str
    press: str
    """What an operator can do."""

    @property
    def badge(self) -> SafeString:
        """The word in its colour, with its shape."""
        return format_html(
            '<span class="badge {}" title="{}"><span aria-hidden="true">{}</span> {}</span>',
            self.tone,
            self.means,
            self.sign,
            self.label,
        )


_WAITS = "Nothing. Refresh now asks at once, when the cause is over."
FRESH = Condition(
    code="fresh",
    label="Connected",
    tone="good",
    sign="●",
    means="The access token is fresh, and the next refresh is planned.",
    press="Nothing.",
)
SLEEPING = Condition(
    code="sleeping",
    label="Asleep",
    tone="off",
    sign="◐",
    means="The user has not been here for long, so the token is not refreshed. "
    "The next page of the user wakes it.",
    press="Nothing. Refresh now wakes it.",
)
OVERDUE_TOKEN = Condition(
    code="overdue",
    label="Overdue",
    tone="wait",
    sign="▲",
    means="It was to be refreshed more than a minute ago, and no worker has come to it.",
    press="If many are overdue: see whether workers run. Refresh now puts this one first.",
)
RETRYING = Condition(
    code="retrying",
    label="Retrying",
    tone="wait",
    sign="▲",
    means="The last refresh failed, and is tried again by itself. The access token still lives.",
    press=_WAITS,
)
SUSPECTED = Condition(
    code="suspected",
    label="Suspected",
    tone="wait",
    sign="◆",
    means="Spotify refused the refresh token. It is asked again for a while before that is "
    "believed, since it may be a fault of Spotify.",
    press="Nothing, or settle it: believe the refusal, or forgive it.",
)
EXPIRED = Condition(
    code="expired",
    label="No fresh token",
    tone="bad",
    sign="■",
    means="The access token has expired and was not replaced: the user's pages show no music.",
    press="Look at the last outcome. Refresh now asks Spotify at once.",
)
UNREADABLE = Condition(
    code="unreadable",
    label="Unreadable",
    tone="bad",
    sign="■",
    means="No key opens the stored tokens.",
    press="Put the lost key back into TOKEN_ENCRYPTION_KEYS. Otherwise require a reconnect.",
)
RECONNECT_REQUIRED = Condition(
    code="reconnect_required",
    label="Reconnect required",
    tone="bad",
    sign="■",
    means="The refresh token is dead. The user's pages ask for a reconnect.",
    press="Nothing: only the user can approve again. Forgive, if Spotify refused it by mistake.",
)
PAUSED = Condition(
    code="paused",
    label="Paused",
    tone="wait",
    sign="Ⅱ",
    means="An administrator has paused it: no worker presents it to Spotify.",
    press="Resume refreshing, once the reason in the history is settled.",
)
DISCONNECTED = Condition(
    code="disconnected",
    label="Disconnected",
    tone="off",
    sign="○",
    means="The user disconnected. Both tokens are erased.",
    press="Nothing.",
)
REVOKED = Condition(
    code="revoked",
    label="Revoked",
    tone="off",
    sign="○",
    means="An administrator revoked it. Both tokens are erased.",
    press="Nothing: the user may connect again.",
)
_BY_STATUS = {
    SpotifyToken.Status.PAUSED: PAUSED,
    SpotifyToken.Status.RECONNECT_REQUIRED: RECONNECT_REQUIRED,
    SpotifyToken.Status.DISCONNECTED: DISCONNECTED,
    SpotifyToken.Status.REVOKED: REVOKED,
}


def condition_of(token: SpotifyToken, *, now: datetime) -> Condition:
    """Which of them a token is in; `now` is PostgreSQL's."""
    if known := _BY_STATUS.get(SpotifyToken.Status(token.status)):
        return known
    if token.last_error == FailureCode.UNDECRYPTABLE:
        return UNREADABLE
    if sleeps(token):
        return SLEEPING
    if token.expires_at <= now:
        return EXPIRED
    if token.suspected_at:
        return SUSPECTED
    if token.failures:
        return RETRYING
    if is_overdue(token, now=now):
        return OVERDUE_TOKEN
    return FRESH


def sleeps(token: SpotifyToken) -> bool:
    """Whether nobody refreshes it before its user comes back."""
    return token.failures == 0 and token.due_at > token.expires_at


def was_asked_for(token: SpotifyToken) -> bool:
    """Whether somebody asked for a refresh: it is due "since its issue" then."""
    return token.due_at <= token.refreshed_at


def is_overdue(token: SpotifyToken, *, now: datetime) -> bool:
    """Whether no worker came to it in time."""
    return token.due_at <= now - OVERDUE and not was_asked_for(token)
