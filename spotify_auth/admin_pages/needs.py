"""What needs an operator's attention: which tokens, how many, and where the list begins.

Each is read from an index in which healthy tokens leave no entry, or in the order of one. So a
page over a million tokens reads no more than the tokens it is about.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Now

from spotify_auth.admin_pages.conditions import EXPIRING, OVERDUE, RECONNECT_SOON
from spotify_auth.freshness import ROUTINE_FAILURES
from spotify_auth.models import SpotifyToken

MOST_COUNTED = 1000
"""How far the tokens of one need are counted; more are "more than 1000"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A kind of tokens that an operator looks for."""

    code: str
    label: str
    tone: str
    sign: str
    condition: Callable[[], Q]
    order: str
    """The column of the index, most urgent first."""


def _active() -> Q:
    return Q(status=SpotifyToken.Status.ACTIVE)


def _waits_too_long() -> Q:
    # Or it was asked for, and so is due "since its issue": that says nothing of how long it waits.
    return _active() & Q(due_at__lte=Now() - OVERDUE) & Q(due_at__gt=F("refreshed_at"))


def _expires_within(left: timedelta, *, failures: int = 0) -> Q:
    """What is not refreshed in time is due or fails; what sleeps is let expire on purpose."""
    soon = Q(expires_at__lte=Now() + left)
    due = _active() & Q(due_at__lte=Now() - OVERDUE) & soon
    failing = _active() & Q(failures__gt=failures) & soon
    return due | failing


NEEDS: Mapping[str, Need] = {
    need.code: need
    for need in (
        Need(
            code="lost",
            label="No fresh token",
            tone="bad",
            sign="■",
            condition=lambda: _expires_within(timedelta(0)),
            order="expires_at",
        ),
        Need(
            code="expiring",
            label="About to expire",
            tone="bad",
            sign="■",
            condition=lambda: _expires_within(EXPIRING, failures=ROUTINE_FAILURES),
            order="expires_at",
        ),
        Need(
            code="overdue",
            label="Overdue",
            tone="wait",
            sign="▲",
            condition=_waits_too_long,
            order="due_at",
        ),
        Need(
            code="failing",
            label="Failing",
            tone="wait",
            sign="▲",
            condition=lambda: _active() & Q(failures__gt=0),
            order="expires_at",
        ),
        Need(
            code="suspected",
            label="Suspected",
            tone="wait",
            sign="◆",
            condition=lambda: _active() & Q(suspected_at__isnull=False),
            order="suspected_at",
        ),
        Need(
            code="reconnect_soon",
            label="Reconnect due within 30 days",
            tone="off",
            sign="◷",
            condition=lambda: (
                _active() & Q(reauthorize_by__lte=Now() + RECONNECT_SOON, authorized_at_known=True)
            ),
            order="reauthorize_by",
        ),
        Need(
            code="paused",
            label="Paused",
            tone="wait",
            sign="Ⅱ",
            condition=lambda: Q(status=SpotifyToken.Status.PAUSED),
            order="-pk",
        ),
    )
}
