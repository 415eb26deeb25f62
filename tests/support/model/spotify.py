"""The model's Spotify: which tokens live, and what a request is answered."""

from dataclasses import dataclass
from enum import Enum, auto


class Weather(Enum):
    """How the token endpoint behaves during one refresh."""

    CLEAR = auto()
    ROTATION = auto()
    NO_ROTATION = auto()
    BLANK_SCOPE = auto()
    LIMITED = auto()
    LIMITED_SILENTLY = auto()
    UNAVAILABLE = auto()
    HTML = auto()
    CLIENT_REFUSED = auto()
    FALSE_REFUSAL = auto()
    RESET_ONCE = auto()
    RESET = auto()
    LOST = auto()
    """It carries the refresh out and cuts the connection; asked again it answers."""
    LOST_TWICE = auto()
    LOST_WITH_GRACE = auto()
    """The same, but it still takes a token that was rotated away for a while."""


RETRY_AFTER = 40.0


class Kind(Enum):
    """What kind of answer it is."""

    GRANTED = auto()
    REFUSED = auto()
    UNKNOWN = auto()
    """None came: the connection was cut."""
    LIMITED = auto()
    CLIENT_REFUSED = auto()
    UNAVAILABLE = auto()


@dataclass(eq=False)
class Approval:
    """One authorisation at Spotify, and the newest of its tokens."""

    number: int
    scope: str
    rotates: bool
    """Whether a refresh brings a new refresh token, unless the weather says otherwise."""
    generation: int = 1
    refresh_generation: int = 1
    ended: bool = False
    """Removed by the person, or six months old: its refresh tokens are dead."""
    access_tokens_dead: bool = False


@dataclass(frozen=True)
class Pair:
    """An access and a refresh token, by their generations at Spotify."""

    approval: Approval
    access: int
    refresh: int

    @property
    def was_rotated_away(self) -> bool:
        return self.refresh != self.approval.refresh_generation


@dataclass(frozen=True)
class Answer:
    """What one refresh request is answered. `seconds` is Retry-After."""

    kind: Kind
    pair: Pair | None = None
    rotated: bool = False
    seconds: float | None = None
    error: str = ""
    unreadable: bool = False
    """A success that says nothing: it may have rotated."""


_WITHOUT_CARRYING_OUT = {
    Weather.LIMITED: Answer(Kind.LIMITED, seconds=RETRY_AFTER),
    Weather.LIMITED_SILENTLY: Answer(Kind.LIMITED),
    Weather.UNAVAILABLE: Answer(Kind.UNAVAILABLE, error="http_503"),
    Weather.HTML: Answer(Kind.UNAVAILABLE, error="answer_without_access_token", unreadable=True),
    Weather.CLIENT_REFUSED: Answer(Kind.CLIENT_REFUSED),
    Weather.FALSE_REFUSAL: Answer(Kind.REFUSED),
    Weather.RESET: Answer(Kind.UNKNOWN, error="connection_cut"),
}


_ROTATED_BY_WEATHER = {Weather.ROTATION: True, Weather.NO_ROTATION: False}


def ask(pair: Pair, weather: Weather, *, again: bool) -> tuple[Answer, bool]:
    """One refresh request, and whether it showed Spotify a token that rotation had killed."""
    if weather in _WITHOUT_CARRYING_OUT:
        return _WITHOUT_CARRYING_OUT[weather], False
    if weather is Weather.RESET_ONCE and not again:
        return _WITHOUT_CARRYING_OUT[Weather.RESET], False
    answer, reused = _carry_out(pair, weather)
    lost = weather is Weather.LOST_TWICE or (
        weather in {Weather.LOST, Weather.LOST_WITH_GRACE} and not again
    )
    return (_WITHOUT_CARRYING_OUT[Weather.RESET] if lost else answer), reused


def _carry_out(pair: Pair, weather: Weather) -> tuple[Answer, bool]:
    approval = pair.approval
    if approval.ended:
        return Answer(Kind.REFUSED), False
    if pair.was_rotated_away and weather is not Weather.LOST_WITH_GRACE:
        return Answer(Kind.REFUSED), True
    approval.generation += 1
    rotated = _ROTATED_BY_WEATHER.get(weather, approval.rotates)
    if rotated:
        approval.refresh_generation = approval.generation
    new = Pair(approval, approval.generation, approval.refresh_generation)
    return Answer(Kind.GRANTED, new, rotated), False
