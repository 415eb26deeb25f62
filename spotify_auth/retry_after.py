"""How long a server asks its clients to wait."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, from a number or an HTTP date (RFC 9110, section 10.2.3).

    A date is read against the answer's own Date, so that no clock of ours plays a part.
    None for anything else; a moment that has passed is 0.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    try:
        moment, now = map(parsedate_to_datetime, (value, headers.get("Date", "")))
        return max(0.0, (moment - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
