"""One export: a rehearsal that changes nothing, or all of it."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from spotify_auth.conf import settings
from spotify_auth.encryption import DecryptionError
from spotify_auth.exporting.destination import Destination, Kept, NoPlace
from spotify_auth.maintenance.unresolved import is_unresolved
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent, UserId
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.schedule import longest_exchange
from spotify_auth.secrecy import forgets_variables
from spotify_auth.sentences import why_closed

AT_ONCE = 50
"""Tokens in one transaction: no lane refreshes them meanwhile."""
COME_BACK_SECONDS = 0.5
NAMED = 1000
ASKED_BY = "manage.py tokens export"
_CLOSED = "exported"
_SECRET = ("access_token", "refresh_token")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A token that is not handed over."""

    user_id: UserId
    reason: str


@dataclass(slots=True)
class Report:
    """What an export came across, counted and named; never a token."""

    destination: str
    applied: bool
    say: Callable[[str], None]
    found: int = 0
    handed_over: int = 0
    """In a rehearsal: what would be."""
    not_possible: int = 0
    busy: int = 0
    """Being refreshed, or in doubt whether they were."""
    ended: str = "done"
    problems: list[Problem] = field(default_factory=list)

    def add(self, user_id: UserId, reason: str) -> None:
        """A token that stays here."""
        self.not_possible += 1
        self.say(f"  user {user_id}: {reason}")
        if len(self.problems) < NAMED:
            self.problems.append(Problem(user_id=user_id, reason=reason))

    def lines(self) -> list[str]:
        """The counts in words."""
        what = "handed over" if self.applied else "would be handed over"
        return [f"  {self.found:>8}  found", f"  {self.handed_over:>8}  {what}"]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        names = ("applied", "ended", "found", "handed_over", "not_possible", "busy")
        return {
            "destination": self.destination,
            **{name: getattr(self, name) for name in names},
            "problems": [
                {"user_id": each.user_id, "reason": each.reason} for each in self.problems
            ],
            "problems_not_named": self.not_possible - len(self.problems),
        }


class Export:
    """One run over the tokens that are kept here, until it is done or `stopping` is set."""

    def __init__(
        self,
        destination: Destination,
        report: Report,
        *,
        users: Collection[UserId],
        stopping: threading.Event,
    ) -> None:
        """Without `users` it is everybody."""
        self._destination, self._report = destination, report
        self._stopping = stopping
        # A token that Spotify has refused goes along: the row there had it.
        kept = SpotifyToken.objects.filter(access_token__isnull=False)
        self._kept = kept.filter(pk__in=users) if users else kept

    def total(self) -> int:
        """How many tokens there are. Raises django.db.Error."""
        return self._kept.count()

    def rehearse(self, progress: Callable[[int], None]) -> None:
        """Look at everything, and change nothing. Raises django.db.Error."""
        for user_ids in self._batches():
            accounts = self._kept.filter(pk__in=user_ids).values_list("pk", "account_id")
            for user_id, account_id in accounts.order_by("pk"):
                self._report.found += 1
                try:
                    self._destination.check(user_id, account_id)
                except NoPlace as reason:
                    self._report.add(user_id, str(reason))
                else:
                    self._report.handed_over += 1
            progress(len(user_ids))

    def apply(self, progress: Callable[[int], None]) -> None:
        """Hand everything over. Raises Refused, django.db.Error and redis.RedisError."""
        with self._destination.writing():
            self._apply(progress)

    def _apply(self, progress: Callable[[int], None]) -> None:
        left: list[UserId] = []
        for user_ids in self._batches():
            self._report.found += len(user_ids)
            busy = self._hand_over(user_ids)
            progress(len(user_ids) - len(busy))
            left += busy
        give_up = time.monotonic() + longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
        while left and time.monotonic() < give_up and not self._stopping.is_set():
            self._stopping.wait(COME_BACK_SECONDS)
            some = left[:AT_ONCE]
            busy = self._hand_over(some)
            progress(len(some) - len(busy))
            left = left[AT_ONCE:] + busy
        self._report.busy = len(left)
        if self._stopping.is_set():
            self._report.ended = "stopped"

    def _batches(self) -> Iterator[list[UserId]]:
        ordered = self._kept.order_by("pk").values_list("pk", flat=True)
        found: list[UserId] = list(ordered[:AT_ONCE])
        while found and not self._stopping.is_set():
            yield found
            found = list(ordered.filter(pk__gt=found[-1])[:AT_ONCE])

    @forgets_variables
    def _hand_over(self, user_ids: list[UserId]) -> list[UserId]:
        """Hand these over in one transaction; those that a lane has, or may have a pair for."""
        busy: list[UserId] = []
        problems: list[tuple[UserId, str]] = []
        done = 0
        with transaction.atomic():
            rows = self._kept.filter(pk__in=user_ids).order_by("pk")
            locked = {row.pk: row for row in rows.select_for_update(skip_locked=True)}
            there = set(rows.values_list("pk", flat=True))
            for user_id in user_ids:
                row = locked.get(user_id)
                if row is None:
                    busy += [user_id] * (user_id in there)
                elif is_unresolved(user_id, row.generation):
                    busy.append(user_id)
                else:
                    try:
                        self._destination.put(_kept(row))
                    except (NoPlace, DecryptionError) as why:
                        problems.append((user_id, str(why)))
                    else:
                        _close(row, to=self._destination.name)
                        done += 1
            self._destination.settle()
        self._report.handed_over += done
        for user_id, reason in problems:
            self._report.add(user_id, reason)
        return busy


def _kept(row: SpotifyToken) -> Kept:
    """Raises DecryptionError."""
    assert row.access_token is not None  # noqa: S101  (the query asks for rows that have both)
    assert row.refresh_token is not None  # noqa: S101
    return Kept(
        user_id=row.pk,
        access_token=row.access_token,
        refresh_token=row.refresh_token,
        expires_at=row.expires_at,
        scope=row.scope,
        authorized_at=row.authorized_at if row.authorized_at_known else None,
        account_id=row.account_id,
    )


def _close(row: SpotifyToken, *, to: str) -> None:
    """Erase a locked row's tokens, with their event and notice.

    Not `closed_at`: nobody took a consent back, and an import may bring the tokens home.
    """
    row.status = SpotifyToken.Status.DISCONNECTED
    row.access_token = row.refresh_token = None
    row.suspected_at = None
    row.save(update_fields=["status", *_SECRET, "suspected_at"])
    TokenEvent.objects.create(
        user_id=row.pk,
        cause=Cause.ADMIN,
        outcome=Outcome.DISCONNECTED,
        asked_by=ASKED_BY,
        reason=f"handed to {to}",
        generation_before=row.generation,
    )
    outbox.write(
        outbox.of_token(
            Kind.CLOSED,
            user_id=row.pk,
            generation=row.generation,
            status=row.status,
            reason=_CLOSED,
            sentence=why_closed(_CLOSED),
        )
    )
