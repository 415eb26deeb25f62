"""The figures below the verdict, each with what it means and the list behind it: pure functions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from spotify_auth.conf import settings
from spotify_auth.figures.counts import REFRESH_OUTCOMES
from spotify_auth.freshness import EXPIRING_SECONDS
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.operations.looking import Looked
from spotify_auth.operations.verdict import GUIDE, LATE_SECONDS
from spotify_auth.operations.wording import milliseconds, number, share
from spotify_auth.templatetags.moments import lasting

UNKNOWN = "unknown"
NO_REDIS = "Redis does not answer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number."""

    code: str
    """An id on the page."""
    label: str
    value: str
    note: str
    """What it means, or why it is as it is."""
    tone: str = ""
    """good, wait, bad or blank."""
    tokens: str = ""
    """The query of the list of tokens behind it; blank without one."""

    @property
    def guide(self) -> str:
        """Where the documentation says more."""
        return f"{GUIDE}#the-figures"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeRow:
    """How often one thing happened."""

    code: str
    label: str
    last_hour: str
    last_day: str
    ever: str
    failed: bool


def objective(look: Looked) -> list[Figure]:
    """Whether users have what they need: before everything else."""
    found, now = look.summary, look.summary.freshness
    needed, soon = settings.ACCESS_TOKEN_MINIMUM_SECONDS, EXPIRING_SECONDS / 60
    budget = found.budget
    return [
        Figure(
            code="fresh",
            label=f"with {needed:.0f} s left or more",
            value=share(found.fresh_share),
            note=f"of {number(found.awake)} connected users",
            tone="bad" if now.unexplained else "wait" if now.refused else "good",
            tokens="needs=lost",
        ),
        Figure(
            code="worst",
            label="the first token " + ("expires" if (now.worst_left or 0) >= 0 else "expired"),
            value=_when(now.worst_left),
            note="refused and sleeping ones left out",
            tone=_tone_of_worst(now.worst_left, expiring=now.expiring),
        ),
        Figure(
            code="expiring",
            label=f"expire unrefreshed in {soon:.0f} min",
            value=number(now.expiring),
            note="they keep failing, or their turn does not come",
            tone="bad" if now.expiring else "good",
            tokens="needs=expiring",
        ),
        Figure(
            code="budget",
            label="left of this week's budget",
            value=f"{budget.left:.1f} min",
            note=f"of {budget.allowed:.1f} minutes without a token that the objective allows",
            tone="bad"
            if budget.left <= 0
            else "wait"
            if budget.left < budget.allowed / 2
            else "good",
        ),
    ]


def _pace(look: Looked) -> Figure:
    """The pace that was learned, beside what the tokens need."""
    found = look.summary
    if found.traffic is None:
        return Figure(code="pace", label="pace", value=UNKNOWN, note=NO_REDIS, tone="wait")
    pace = found.traffic.pace
    limited = pace != float("inf")
    return Figure(
        code="pace",
        label="refreshes a second allowed",
        value=f"{pace:.1f}" if limited else "any",
        note=f"{found.need:.1f} are needed; "
        + ("learned from a 429" if limited else "Spotify has shown no limit today"),
        tone="bad" if found.pace_is_too_low else "",
    )


def _web_api_pace(look: Looked) -> Figure:
    """The same of the pages' calls. What they need nobody knows."""
    traffic = look.summary.traffic
    if traffic is None:
        return Figure(
            code="web-api-pace", label="Web API pace", value=UNKNOWN, note=NO_REDIS, tone="wait"
        )
    limited = traffic.web_api_pace != float("inf")
    return Figure(
        code="web-api-pace",
        label="Web API calls a second allowed",
        value=f"{traffic.web_api_pace:.1f}" if limited else "any",
        note="learned from a 429; pages that ask for more are told to wait"
        if limited
        else "Spotify has shown no limit today",
    )


def work(look: Looked) -> list[Figure]:
    """What the workers do."""
    now, traffic = look.summary.freshness, look.summary.traffic
    rate = _refreshed_in_the_last_minute(look)
    refreshed, rotated = _of_the_hour(look)
    late = now.oldest_overdue > LATE_SECONDS
    lanes = (
        Figure(code="lanes", label="lanes ask Spotify", value=UNKNOWN, note=NO_REDIS, tone="wait")
        if traffic is None
        else Figure(
            code="lanes",
            label="lanes ask Spotify",
            value=number(traffic.lanes),
            note=f"of {number(settings.REFRESH_LANES)} in all workers",
        )
    )
    return [
        Figure(
            code="due",
            label="due at this moment",
            value=number(now.overdue),
            note=f"the oldest for {lasting(now.oldest_overdue)}" if now.overdue else "none waits",
            tone="wait" if late else "",
            tokens="needs=overdue",
        ),
        Figure(
            code="rate",
            label="refreshed in the last full minute",
            value=number(rate),
            note=_counted(look),
        ),
        Figure(
            code="latency",
            label="half of Spotify's answers within",
            value=milliseconds(look.latency.median),
            note=_slow_ones(look),
        ),
        Figure(
            code="rotations",
            label="brought a new refresh token",
            value=share(rotated / refreshed) if refreshed else "none",
            note=f"of {number(refreshed)} refreshes in the last hour",
        ),
        lanes,
        _pace(look),
        _web_api_pace(look),
        Figure(
            code="failing",
            label="back off after a failure",
            value=number(now.backing_off),
            note=", ".join(f"{error}: {number(count)}" for error, count in look.errors[:2])
            or "no attempt has failed lately",
            tone="wait" if now.backing_off else "",
            tokens="needs=failing",
        ),
        Figure(
            code="suspected",
            label="refused, to be asked again",
            value=number(now.suspected),
            note=_refusals(look),
            tone="wait" if now.suspected else "",
            tokens="needs=suspected",
        ),
        Figure(
            code="reconnect",
            label="must reconnect",
            value=number(look.summary.by_status.get(SpotifyToken.Status.RECONNECT_REQUIRED, 0)),
            note="only they can, at Spotify",
            tokens="status__exact=reconnect_required",
        ),
    ]


def outcomes(look: Looked) -> Sequence[OutcomeRow]:
    """How often each thing happened in the last hour, the last day, and ever."""
    hour, day = Counter[str](), Counter[str]()
    for count in look.minutes:
        hour[count.outcome] += count.events
    for count in look.hours:
        day[count.outcome] += count.events
    return [
        OutcomeRow(
            code=outcome.value,
            label=str(outcome.label),
            last_hour=number(hour[outcome]),
            last_day=number(day[outcome]),
            ever=number(look.summary.totals[outcome].events),
            failed=outcome in REFRESH_OUTCOMES and outcome != Outcome.REFRESHED,
        )
        for outcome in Outcome
        if outcome in look.summary.totals
    ]


def _when(left: float | None) -> str:
    if left is None:
        return "none"
    return f"in {lasting(left)}" if left > 0 else f"{lasting(left)} ago"


def _tone_of_worst(left: float | None, *, expiring: int) -> str:
    if left is None:
        return ""
    if left <= settings.ACCESS_TOKEN_MINIMUM_SECONDS:
        return "bad"
    return "wait" if expiring else "good"


def _slow_ones(look: Looked) -> str:
    if look.latency.median is None:
        return "none was timed in the last hour"
    p95, p99 = milliseconds(look.latency.p95), milliseconds(look.latency.p99)
    return f"95 % within {p95}, 99 % within {p99}, in the last hour"


def _refreshed_in_the_last_minute(look: Looked) -> int:
    present = look.now.replace(second=0, microsecond=0)
    before = [count for count in look.minutes if count.begins_at < present]
    last = [count for count in before if (present - count.begins_at).total_seconds() <= 60]
    return sum(count.events for count in last if count.outcome == Outcome.REFRESHED)


def _of_the_hour(look: Looked) -> tuple[int, int]:
    """How many were refreshed in the last hour, and how many of them with a new refresh token."""
    refreshed = [count for count in look.minutes if count.outcome == Outcome.REFRESHED]
    return sum(count.events for count in refreshed), sum(count.rotated for count in refreshed)


def _counted(look: Looked) -> str:
    age = look.summary.counted_age
    if age is None:
        return "the history was not counted yet"
    return f"counted {lasting(age)} ago"


def _refusals(look: Looked) -> str:
    if look.summary.traffic is None:
        return f"whether many at once: {UNKNOWN}, {NO_REDIS}"
    return "many at once: none is believed" if look.summary.traffic.mass_refusal else "as ever"
