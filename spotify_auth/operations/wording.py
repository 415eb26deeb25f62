"""Numbers and times as the operations page writes them."""

from datetime import datetime


def number(value: float) -> str:
    """A count with separators: 1,204."""
    return f"{value:,.0f}"


def users(count: int) -> str:
    """So many users, with the verb's number left to the caller: "1 user", "37 users"."""
    return f"{number(count)} user{'' if count == 1 else 's'}"


def clock(moment: datetime, *, now: datetime) -> str:
    """The time of day, with the day if that is another: "12:01 UTC"."""
    day = "" if moment.date() == now.date() else f"{moment:%-d %B} "
    return f"{day}{moment:%H:%M} UTC"


def milliseconds(seconds: float | None) -> str:
    """A latency: "180 ms", "2.4 s"; "none" without any."""
    if seconds is None:
        return "none"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def share(value: float) -> str:
    """A share in per cent, which is 100 % only if nothing is missing."""
    percent = 100 * value
    if 99.99 < percent < 100:
        return "99.99 %"
    return f"{percent:.2f} %".replace(".00 %", " %")
