"""Counts over time as bars: pure functions from counts to shapes.

Along the x axis runs time, as a share of the drawing's width in per cent, so that the drawing
needs no script and no size of its own. `_chart.html` paints it, and says the same as a table.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spotify_auth.figures.counts import REFRESH_OUTCOMES, Count
from spotify_auth.models import Outcome
from spotify_auth.operations.wording import number

HEIGHT = 96
"""Of the highest bar, in pixels."""
_GAP = 0.2
"""Between two bars, as a share of a bar's place."""
_LEAST = 2.0
"""The height of the smallest number that is not zero: it must be seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What happened in one minute, or hour."""

    begins_at: datetime
    x: str
    width: str
    refreshed: int
    failed: int
    refreshed_top: str
    refreshed_height: str
    failed_top: str
    failed_height: str
    present: bool
    """Whether this minute, or hour, is not over yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Refreshes over time, as drawn and as told."""

    name: str
    """An id for the page, and its unit: minute or hour."""
    title: str
    bars: Sequence[Bar]
    peak: str
    """The number that is as high as the drawing."""
    summary: str
    """What the drawing shows, in words."""


def chart(
    counts: Iterable[Count], *, name: str, title: str, step: timedelta, bars: int, now: datetime
) -> Chart:
    """Bars for the last so many steps of time; the last one is the present one.

    `now` is PostgreSQL's. Steps in which nothing happened are bars without height.
    """
    refreshed, failed = Counter[datetime](), Counter[datetime]()
    for count in counts:
        if count.outcome == Outcome.REFRESHED:
            refreshed[count.begins_at] += count.events
        elif count.outcome in REFRESH_OUTCOMES:
            failed[count.begins_at] += count.events
    present = _begin(now, step)
    moments = [present - step * back for back in reversed(range(bars))]
    peak = max(1, *(refreshed[moment] + failed[moment] for moment in moments))
    return Chart(
        name=name,
        title=title,
        bars=[
            _bar(
                moment,
                place=place / bars,
                room=1 / bars,
                refreshed=refreshed[moment],
                failed=failed[moment],
                peak=peak,
                present=moment == present,
            )
            for place, moment in enumerate(moments)
        ],
        peak=number(peak),
        summary=_in_words(moments, refreshed, failed, unit=name),
    )


def _begin(moment: datetime, step: timedelta) -> datetime:
    """The whole minute, or hour, in which a moment lies."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


def _bar(
    moment: datetime,
    *,
    place: float,
    room: float,
    refreshed: int,
    failed: int,
    peak: int,
    present: bool,
) -> Bar:
    good, bad = _height(refreshed, peak), _height(failed, peak)
    good = min(good, HEIGHT - bad)  # a small number was made higher than it is
    return Bar(
        begins_at=moment,
        x=f"{100 * (place + room * _GAP / 2):.2f}%",
        width=f"{100 * room * (1 - _GAP):.2f}%",
        refreshed=refreshed,
        failed=failed,
        refreshed_top=f"{HEIGHT - good:.1f}",
        refreshed_height=f"{good:.1f}",
        failed_top=f"{HEIGHT - good - bad:.1f}",
        failed_height=f"{bad:.1f}",
        present=present,
    )


def _height(count: int, peak: int) -> float:
    return max(HEIGHT * count / peak, _LEAST) if count else 0.0


def _in_words(
    moments: Sequence[datetime],
    refreshed: Counter[datetime],
    failed: Counter[datetime],
    *,
    unit: str,
) -> str:
    good = sum(refreshed[moment] for moment in moments)
    bad = sum(failed[moment] for moment in moments)
    if not good and not bad:
        return f"Nothing was refreshed in the last {len(moments)} {unit}s."
    most = max(moments, key=lambda moment: refreshed[moment])
    idle = sum(not refreshed[moment] and not failed[moment] for moment in moments)
    told = (
        f"{number(good)} refreshed and {number(bad)} failed attempts in the last {len(moments)} "
        f"{unit}s; at most {number(refreshed[most])} refreshed in a {unit}, at {most:%H:%M} UTC"
    )
    return f"{told}; nothing in {idle} of them." if idle else f"{told}."
