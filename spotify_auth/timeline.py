"""The history of a token as a drawing: pure functions from events to shapes.

Along the x axis runs time, as a share of the drawing's width in per cent, so that the
drawing needs no script and no size of its own. `spotify_auth/_timeline.html` paints it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest

from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent

LIFETIMES_SHOWN = 6
"""How much of the past is drawn, in lifetimes of the newest access token."""
TOLERANCE = timedelta(seconds=1)
"""Events carry whole seconds in places: less than this is no gap."""

_DIGIT = 3.0
"""The width of a digit in the narrowest drawing, in per cent."""
_LABEL = 28.0
"""The width of "10 min ago" and half a "now" in it, in per cent."""
_GRANTED = {Outcome.CONNECTED, Outcome.REFRESHED}
_ERASED = {Outcome.DISCONNECTED, Outcome.REVOKED}
_BY_OPERATORS = {
    Outcome.REFRESH_REQUESTED,
    Outcome.PAUSED,
    Outcome.RESUMED,
    Outcome.FORGIVEN,
}
_NO_FAILURE = _GRANTED | _ERASED | _BY_OPERATORS


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A piece of the time axis: where it begins, how wide it is, and how long it lasted."""

    x: str
    width: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One generation: while its access token was the newest, and the rest of its life."""

    generation: int
    lane: int
    """0 or 1, in turn, so that the lives of neighbours can be seen to overlap."""
    width: str
    """Of its whole life."""
    used: Stretch
    spare: Stretch
    roomy: bool
    """Whether its number can be read in the part that was used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A refresh that did not succeed."""

    x: str
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """What is drawn, and what is said of it. Times in seconds before `now`."""

    fresh: Sequence[Stretch]
    gaps: Sequence[Stretch]
    pairs: Sequence[Pair]
    failures: Sequence[Failure]
    troubles: Sequence[Stretch]
    """From a first failed refresh to the next that succeeded."""
    now: str
    due: str
    """Where the next refresh is due; blank when there is none to come."""
    shown_seconds: float
    """How far the drawing reaches back."""
    start_labelled: bool
    """Whether its beginning is far enough from now for words at both."""
    fresh_seconds: float | None
    """For how long the token has been fresh without a gap; None when it is not fresh now."""
    refreshed: int
    """How many refreshes succeeded in that time, or else in the time shown."""
    failed: int
    """How many did not, in the time shown."""
    just_now: bool
    """Whether the last refresh succeeded in the last twentieth of a lifetime."""


@dataclass(frozen=True, slots=True)
class _Life:
    """The life of one access token, by PostgreSQL's clock."""

    generation: int
    issued: datetime
    expires: datetime
    refresh: bool


@dataclass(frozen=True, slots=True)
class _Scale:
    """From a moment to its place."""

    start: datetime
    end: datetime

    def percent(self, moment: datetime) -> float:
        inside = min(max(moment, self.start), self.end)
        return 100 * ((inside - self.start) / (self.end - self.start))

    def at(self, moment: datetime) -> str:
        return f"{self.percent(moment):.2f}%"

    def stretch(self, start: datetime, end: datetime) -> Stretch:
        width = max(self.percent(end) - self.percent(start), 0.0)
        seconds = max((end - start).total_seconds(), 0.0)
        return Stretch(x=self.at(start), width=f"{width:.2f}%", seconds=seconds)

    def shows(self, start: datetime, end: datetime) -> bool:
        return end > self.start and start < self.end


def timeline(token: SpotifyToken, events: Iterable[TokenEvent], *, now: datetime) -> Timeline:
    """The drawing of a token's recent history.

    `events` are its newest, in any order, and perhaps none; `now` is PostgreSQL's.
    """
    history = sorted(events, key=lambda event: event.at)
    lives = _lives(token, history)
    erased = [event.at for event in history if event.outcome in _ERASED]
    if token.closed_at:
        erased.append(token.closed_at)
    covered = _covered(lives, erased)
    lifetime = max(lives[-1].expires - lives[-1].issued, TOLERANCE)
    start = min(max(lives[0].issued, now - LIFETIMES_SHOWN * lifetime), now - lifetime / 20)
    scale = _Scale(start, max(lives[-1].expires, now) + lifetime / 20)
    active = token.status == SpotifyToken.Status.ACTIVE
    past = [(begin, min(end, now)) for begin, end in covered if begin < now]
    fresh_now = bool(past) and past[-1][1] == now
    since = past[-1][0] if fresh_now else scale.start
    failed = [event for event in history if _failed(event) and event.at >= scale.start]
    return Timeline(
        fresh=[scale.stretch(*span) for span in past if scale.shows(*span)],
        gaps=[
            scale.stretch(max(span[0], scale.start), span[1])
            for span in _gaps(past, erased, now=now)
            if scale.shows(*span)
        ],
        pairs=_pairs(lives, erased, scale, now=now),
        failures=[
            Failure(x=scale.at(event.at), what=event.get_outcome_display()) for event in failed
        ],
        troubles=[
            scale.stretch(*span) for span in _troubles(history, now=now) if scale.shows(*span)
        ],
        now=scale.at(now),
        due=scale.at(token.due_at) if active and now < token.due_at < scale.end else "",
        start_labelled=scale.percent(now) >= _LABEL,
        shown_seconds=(now - scale.start).total_seconds(),
        fresh_seconds=(now - since).total_seconds() if fresh_now else None,
        refreshed=sum(life.refresh and life.issued >= since for life in lives),
        failed=len(failed),
        just_now=fresh_now and lives[-1].refresh and now - lives[-1].issued < lifetime / 20,
    )


def _lives(token: SpotifyToken, history: Sequence[TokenEvent]) -> list[_Life]:
    """Each access token's life; the row knows that of the newest to the microsecond."""
    grants = [e for e in history if e.outcome in _GRANTED and e.generation_after is not None]
    lives = []
    for grant, following in zip_longest(grants, grants[1:]):
        issued = _issued(grant, following)
        expires = issued + timedelta(seconds=grant.lifetime_granted or 0)
        if grant.generation_after == token.generation:
            issued, expires = token.refreshed_at, token.expires_at
        refresh = grant.outcome == Outcome.REFRESHED
        lives.append(_Life(grant.generation_after or 0, issued, expires, refresh))
    if not lives:  # its event is older than those at hand
        return [_Life(token.generation, token.refreshed_at, token.expires_at, refresh=False)]
    return lives


def _issued(grant: TokenEvent, following: TokenEvent | None) -> datetime:
    """When the exchange behind a grant began: the event is written at its end.

    A rescued grant may be stored long after; how old it was when it was replaced tells.
    """
    issued = grant.at - timedelta(milliseconds=grant.duration_ms or 0)
    if grant.cause == Cause.RESCUE and following and following.lifetime_used is not None:
        took = timedelta(seconds=following.lifetime_used, milliseconds=following.duration_ms or 0)
        issued = min(issued, following.at - took)
    return issued


def _covered(lives: Sequence[_Life], erased: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """The times in which some access token was alive, joined where they touch."""
    spans: list[tuple[datetime, datetime]] = []
    for life in lives:
        end = _cut(life, erased)
        if (
            spans
            and life.issued <= spans[-1][1] + TOLERANCE
            and not _between(erased, spans[-1][0], life.issued)
        ):
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((life.issued, end))
    return spans


def _cut(life: _Life, erased: Sequence[datetime]) -> datetime:
    """When a life ended: at its expiry, or earlier when the tokens were erased."""
    return min([life.expires, *(moment for moment in erased if moment >= life.issued)])


def _gaps(
    covered: Sequence[tuple[datetime, datetime]], erased: Sequence[datetime], *, now: datetime
) -> list[tuple[datetime, datetime]]:
    """The times without a living token, but for those when nobody was connected."""
    ends = [end for _, end in covered]
    begins = [begin for begin, _ in covered[1:]]
    return [
        (end, begin)
        for end, begin in zip(ends, [*begins, now], strict=True)
        if begin > end and not _between(erased, end - TOLERANCE, begin)
    ]


def _between(moments: Sequence[datetime], start: datetime, end: datetime) -> bool:
    return any(start <= moment <= end for moment in moments)


def _pairs(
    lives: Sequence[_Life], erased: Sequence[datetime], scale: _Scale, *, now: datetime
) -> list[Pair]:
    pairs = []
    for number, life in enumerate(lives):
        following = lives[number + 1].issued if number + 1 < len(lives) else now
        expires = _cut(life, erased)
        replaced = min(following, expires)
        if not scale.shows(life.issued, expires):
            continue
        drawn = scale.percent(replaced) - scale.percent(life.issued)
        pairs.append(
            Pair(
                generation=life.generation,
                lane=life.generation % 2,
                width=scale.stretch(life.issued, expires).width,
                used=scale.stretch(life.issued, replaced),
                spare=scale.stretch(replaced, expires),
                roomy=drawn >= _DIGIT * len(str(life.generation)) + _DIGIT,
            )
        )
    return pairs


def _failed(event: TokenEvent) -> bool:
    return event.outcome not in _NO_FAILURE


def _troubles(history: Sequence[TokenEvent], *, now: datetime) -> list[tuple[datetime, datetime]]:
    """From each first failure to what ended it, or to now."""
    spans = []
    began: datetime | None = None
    for event in history:
        if _failed(event):
            began = began or event.at
        elif began and event.outcome not in _BY_OPERATORS:
            spans.append((began, event.at))
            began = None
    return [*spans, (began, now)] if began else spans
