"""One sentence on whether users lose access, why, and what to do: a pure function of the look.

Causes are asked in the order in which one hides the next: while nobody looks for due tokens, a
long backlog says nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from spotify_auth import freshness
from spotify_auth.admin_pages.conditions import OVERDUE
from spotify_auth.conf import settings
from spotify_auth.cooldown import Reason
from spotify_auth.freshness import EXPIRING_SECONDS
from spotify_auth.operations.looking import Looked
from spotify_auth.operations.wording import clock, number, users
from spotify_auth.templatetags.moments import lasting

GUIDE: Final = "docs/how-to/read-the-operations-page.md"
LATE_SECONDS = OVERDUE.total_seconds()
"""A token that is due for longer waits for a worker that does not come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Why tokens are not refreshed as they should be."""

    code: str
    """For the page: which button helps."""
    because: str
    """Goes on after "because": "no worker and no beat looks for due tokens"."""
    do: str
    """What an operator does, a sentence."""

    @property
    def guide(self) -> str:
        """Where the documentation says more."""
        return f"{GUIDE}#{self.code.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What an operator must know first."""

    tone: str
    """good, wait or bad: the colour."""
    sign: str
    """The shape, for whoever does not see the colour."""
    headline: str
    details: Sequence[str]
    """Sentences."""
    causes: Sequence[Cause]
    """The first one is the one to look at."""


def verdict(look: Looked) -> Verdict:
    """What is to be said of this look."""
    now, causes = look.summary.freshness, causes_of(look)
    because = causes[0].because if causes else ""
    if now.unexplained > 0:
        return _bad(_lost(look, causes), _more(look), causes)
    stopped = [cause for cause in causes if cause.code in _STOPS_ALL]
    soon = now.worst_left is not None and now.worst_left <= EXPIRING_SECONDS
    if now.expiring or (stopped and soon):
        return _bad(_threatened(look, causes), _more(look), causes)
    if stopped:
        headline = f"Nobody has lost access yet, but no token is refreshed, because {because}."
        return _waits(headline, _more(look), causes)
    if now.refused:
        verb = "has" if now.refused == 1 else "have"
        since = _stale_since(look, now.worst_refused_left)
        headline = f"{users(now.refused)} {verb} no fresh token, {since}, because Spotify refused"
        return _waits(f"{headline} it; all others have one.", _more(look), causes)
    if causes:
        headline = f"All connected users have fresh tokens, but {because}."
        return _waits(headline, _more(look), causes)
    return Verdict(
        tone="good", sign="✓", headline=_all_well(look), details=_more(look), causes=causes
    )


_STOPS_ALL = {"not_running", "paused", "client_refused", "unavailable", "restoring"}
_HOLDS_ALL_UP = {*_STOPS_ALL, "rate_limited", "pace_below_need", "no_redis"}
"""Tokens that wait, and failures that are not tried again yet, follow from these."""


def causes_of(look: Looked) -> list[Cause]:
    """Everything that keeps tokens from being refreshed, what hides the rest first."""
    found = [_paused(look), _not_running(look), _cooled_down(look), _no_redis(look)]
    found += [_too_slow(look), _mass_refusal(look)]
    causes = [cause for cause in found if cause]
    if any(cause.code in _HOLDS_ALL_UP for cause in causes):
        return causes
    return causes + [cause for cause in (_backlog(look), _failing(look)) if cause]


def _too_slow(look: Looked) -> Cause | None:
    found = look.summary
    if not found.pace_is_too_low or found.traffic is None:
        return None
    return Cause(
        code="pace_below_need",
        because=f"Spotify allows {found.traffic.pace:.1f} refreshes a second, and "
        f"{number(found.awake)} users need {found.need:.1f}",
        do="Stop what else uses the client ID, or ask Spotify for a higher limit.",
    )


def _paused(look: Looked) -> Cause | None:
    if look.paused is None:
        return None
    since = clock(look.paused.since, now=look.now)
    return Cause(
        code="paused",
        because=f"{look.paused.by} paused all refreshing at {since} ({look.paused.reason})",
        do="Resume refreshing when that is over.",
    )


def _not_running(look: Looked) -> Cause | None:
    age = look.summary.sweep_age
    if freshness.is_recent(age):
        return None
    there = sum(process.is_there for process in look.processes)
    # The time and not the age: these words are read out whenever they change.
    since = (
        "there was no sweep yet"
        if age is None
        else f"the last sweep was at {clock(look.now - timedelta(seconds=age), now=look.now)}"
    )
    return Cause(
        code="not_running",
        because=f"nothing looks for due tokens: {since}",
        do=f"Start a worker and a beat: {number(there)} of them can be seen.",
    )


_COOLDOWNS: Final[Mapping[str, tuple[str, str]]] = {
    Reason.RATE_LIMITED: (
        "Spotify limits the application (429)",
        "Wait: the service goes on by itself, more slowly if it must.",
    ),
    Reason.CLIENT_REFUSED: (
        "Spotify refuses the service's own client ID or secret",
        "Compare SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET with Spotify's dashboard.",
    ),
    Reason.UNAVAILABLE: (
        "Spotify does not answer",
        "Look at Spotify's status page, and whether this network reaches Spotify.",
    ),
    Reason.RESTORING: (
        "somebody runs `manage.py tokens after-restore`",
        "Wait until that is done.",
    ),
}


_OF_ANOTHER_VERSION: Final = (
    "a worker of another version has a reason that this version does not know",
    "Let all processes be of one version.",
)


def _cooled_down(look: Looked) -> Cause | None:
    traffic = look.summary.traffic
    if traffic is None or not traffic.cooldown:
        return None
    because, do = _COOLDOWNS.get(traffic.cooldown, _OF_ANOTHER_VERSION)
    left = f", for another {lasting(traffic.cooldown_left)}" if traffic.cooldown_left else ""
    return Cause(code=traffic.cooldown, because=f"{because}: all refreshing pauses{left}", do=do)


def _no_redis(look: Looked) -> Cause | None:
    if look.summary.traffic is not None:
        return None
    return Cause(
        code="no_redis",
        because="Redis does not answer: no new lanes are opened",
        do="Bring Redis back. Lanes that run go on, and nothing is lost.",
    )


def _mass_refusal(look: Looked) -> Cause | None:
    traffic = look.summary.traffic
    if traffic is None or not traffic.mass_refusal:
        return None
    suspected = look.summary.freshness.suspected
    return Cause(
        code="mass_refusal",
        because=f"Spotify refuses many users at once, {number(suspected)} by now",
        do="Look at Spotify's status page, and whether the client ID was changed. For six hours "
        "nobody else is asked to reconnect.",
    )


def _backlog(look: Looked) -> Cause | None:
    now = look.summary.freshness
    if now.oldest_overdue <= LATE_SECONDS:
        return None
    waits = "token waits" if now.overdue == 1 else "tokens wait"
    lanes = sum(process.lanes_allowed for process in look.processes if process.is_there)
    return Cause(
        code="backlog",
        because=f"{number(now.overdue)} {waits} for a worker, the oldest for "
        f"{lasting(now.oldest_overdue)}",
        do=f"Start more workers, or raise REFRESH_LANES ({settings.REFRESH_LANES}): those that are "
        f"there may run {number(lanes)} lanes.",
    )


def _failing(look: Looked) -> Cause | None:
    now = look.summary.freshness
    failing = now.backing_off - now.suspected
    if failing <= 0 or not look.errors:
        return None
    error, tokens = look.errors[0]
    return Cause(
        code="failing",
        because=f"the last attempt failed for {users(failing)}, mostly with {error} "
        f"({number(tokens)})",
        do="They are tried again by themselves. docs/reference/failure-codes.md explains the code.",
    )


def _lost(look: Looked, causes: Sequence[Cause]) -> str:
    now = look.summary.freshness
    verb = "has" if now.unexplained == 1 else "have"
    why = f", because {causes[0].because}" if causes else ""
    since = _stale_since(look, now.worst_left)
    return f"{users(now.unexplained)} {verb} no fresh token, {since}{why}."


def _stale_since(look: Looked, worst_left: float | None) -> str:
    """Since when the first of them has none: its access token tells."""
    left = (worst_left or 0.0) - settings.ACCESS_TOKEN_MINIMUM_SECONDS
    return f"since {clock(look.now + timedelta(seconds=min(left, 0.0)), now=look.now)}"


def _threatened(look: Looked, causes: Sequence[Cause]) -> str:
    now = look.summary.freshness
    why = f", because {causes[0].because}" if causes else ""
    first = lasting(max(now.worst_left or 0.0, 0.0))
    if now.expiring:
        verb = "loses" if now.expiring == 1 else "lose"
        who = f"{users(now.expiring)} {verb} access within {EXPIRING_SECONDS / 60:.0f} minutes"
        return f"{who}, the first in {first}{why}."
    return f"The first user loses access in {first}{why}."


def _all_well(look: Looked) -> str:
    connected = look.summary.awake
    if not connected:
        return "Nobody is connected, so there is nothing to refresh."
    if connected == 1:
        return "The one connected user has a fresh token."
    return f"All {number(connected)} connected users have fresh tokens."


def _more(look: Looked) -> list[str]:
    """What else belongs into the first ten seconds."""
    now, told = look.summary.freshness, []
    if now.unexplained and now.refused:
        told.append(f"{users(now.refused)} more without one were refused by Spotify.")
    if now.expiring and now.unexplained:
        told.append(
            f"{number(now.expiring)} more expire unrefreshed within "
            f"{EXPIRING_SECONDS / 60:.0f} minutes."
        )
    if now.worst_left is not None and now.worst_left > EXPIRING_SECONDS:
        told.append(f"The first access token expires in {lasting(now.worst_left)}.")
    return told


def _bad(headline: str, details: Sequence[str], causes: Sequence[Cause]) -> Verdict:
    return Verdict(tone="bad", sign="✖", headline=headline, details=details, causes=causes)


def _waits(headline: str, details: Sequence[str], causes: Sequence[Cause]) -> Verdict:
    return Verdict(tone="wait", sign="▲", headline=headline, details=details, causes=causes)
