"""What every page shows besides its own content."""

from collections.abc import Callable

from django.db import Error
from django.http import HttpRequest

from spotify_auth import freshness
from spotify_auth.database_faults import leave_standby


def for_staff(request: HttpRequest) -> dict[str, Callable[[], bool]]:
    """`renewal_has_stopped`: asked only by templates that are about to tell the staff."""
    return {"renewal_has_stopped": _renewal_has_stopped}


def _renewal_has_stopped() -> bool:
    try:
        return not freshness.renewal_is_running()
    except Error as error:
        leave_standby(error)
        return False  # the page says itself that PostgreSQL is away
