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
    exact = value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(timespec="seconds"),
        exact,
        in_words((value - now).total_seconds()),
    )


def in_words(seconds: float) -> str:
    """Seconds from now, in the largest unit that fits twice: a minute and a half is 90 s."""
    whole = round(abs(seconds))
    if whole == 0:
        return "now"
    size, unit = next(
        (unit for unit in _UNITS if whole >= 2 * unit[0]),
        _UNITS[-1],
    )
    amount = f"{whole // size} {unit}"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"
