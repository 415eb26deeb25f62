"""Moments in words: "in 34 s", "2 min ago", by PostgreSQL's clock."""

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@register.simple_tag
def moment(value: datetime, now: datetime) -> SafeString:
    """How far a moment lies from `now`, with the exact UTC time for machines and hovering."""
    return exactly(value, in_words((value - now).total_seconds()))


def exactly(value: datetime, words: str) -> SafeString:
    """Words for a moment, with its exact UTC time for machines and hovering."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="seconds"),
        value.strftime("%Y-%m-%d %H:%M:%S UTC"),
        words,
    )


def in_words(seconds: float) -> str:
    """Seconds from now, as `lasting` has them: "in 34 s", "90 s ago", "now"."""
    if not round(abs(seconds)):
        return "now"
    return f"in {lasting(seconds)}" if seconds > 0 else f"{lasting(seconds)} ago"


@register.filter
def lasting(seconds: float) -> str:
    """A length of time in the largest unit that fits twice: a minute and a half is 90 s."""
    whole = round(abs(seconds))
    size, unit = next((unit for unit in _UNITS if whole >= 2 * unit[0]), _UNITS[-1])
    return f"{whole // size} {unit}"
