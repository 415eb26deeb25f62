"""Folded events, each refresh by itself again: for whoever reads the history of one user."""

from collections.abc import Iterable, Iterator
from copy import copy
from datetime import datetime, timedelta

from django.db import connection

from spotify_auth.history.tables import FOLDED
from spotify_auth.models import TokenEvent

_READ = f"SELECT id, began_at, refreshes FROM {FOLDED} WHERE id = ANY(%s)"  # noqa: S608


def unfold(events: Iterable[TokenEvent]) -> list[TokenEvent]:
    """The same events in the same order, newest first, with all of the refreshes in them.

    One query if there are folded ones, else none. Raises django.db.Error.
    """
    listed = list(events)
    folded = [event.pk for event in listed if _refreshes_in(event) > 1]
    details: dict[int, tuple[datetime, list[int]]] = {}
    if folded:
        with connection.cursor() as cursor:
            cursor.execute(_READ, [folded])
            details = {pk: (began_at, numbers) for pk, began_at, numbers in cursor.fetchall()}
    unfolded: list[TokenEvent] = []
    for event in listed:
        if event.pk in details:
            unfolded.extend(reversed(list(_each(event, *details[event.pk]))))
        else:
            unfolded.append(event)
    return unfolded


def _refreshes_in(event: TokenEvent) -> int:
    return (event.generation_after or 0) - (event.generation_before or 0)


def _each(event: TokenEvent, began_at: datetime, numbers: list[int]) -> Iterator[TokenEvent]:
    """Oldest first. How old the replaced token was follows from the refresh before."""
    at = began_at
    before: datetime | None = None
    for place, (waited, duration_ms) in enumerate(
        zip(numbers[::2], numbers[1::2], strict=True), start=1
    ):
        one = copy(event)
        at += timedelta(milliseconds=waited)
        begun = at - timedelta(milliseconds=duration_ms)
        one.at = at
        one.generation_after = (event.generation_before or 0) + place
        one.generation_before = one.generation_after - 1
        one.duration_ms = duration_ms
        one.lifetime_used = max(0, int((begun - before).total_seconds())) if before else None
        before = begun
        yield one
