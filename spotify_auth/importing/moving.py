"""Moving one token: stored here and erased at its source in one transaction, or neither."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from django.db import Error, transaction

from spotify_auth.adopting import adopt
from spotify_auth.connections import AccountConflict, DifferentAccount
from spotify_auth.database_faults import Fault, fault_of
from spotify_auth.encryption import DecryptionError
from spotify_auth.failure_codes import FailureCode
from spotify_auth.importing.candidates import Candidate, Unusable
from spotify_auth.importing.source import Copy, Source
from spotify_auth.models import Cause, SpotifyToken, UserId
from spotify_auth.secrecy import forgets_variables

_OTHER_ACCOUNT = "the user has connected another Spotify account here"
_TAKEN = "another user has connected this Spotify account"
_LIVING = {SpotifyToken.Status.ACTIVE, SpotifyToken.Status.PAUSED}


class End(StrEnum):
    """What came of one."""

    MOVED = "moved"
    KEPT = "kept"
    """What is stored here is as new, or newer, and stays."""
    GONE = "gone"
    """It is not at its source any more: another import, or a login, was faster."""
    BAD = "bad"
    BUSY = "busy"
    """A row stayed locked."""


class Moved(NamedTuple):
    """What came of one, and why it was not moved if that needs saying."""

    end: End
    reason: str = ""


@forgets_variables
def move(source: Source, candidate: Candidate, *, due_at: datetime | None) -> Moved:
    """Move one token. Raises django.db.Error when PostgreSQL fails."""
    try:
        with source.held(candidate) as copy:
            return Moved(End.GONE) if copy is None else _move(source, copy, due_at)
    except (Unusable, ValueError) as reason:
        return Moved(End.BAD, str(reason))
    except AccountConflict as error:
        return Moved(End.BAD, _OTHER_ACCOUNT if isinstance(error, DifferentAccount) else _TAKEN)
    except Error as error:
        if fault_of(error) is not Fault.BUSY:
            raise
        return Moved(End.BUSY, "its row stayed locked")


def _move(source: Source, copy: Copy, due_at: datetime | None) -> Moved:
    found = copy.candidate
    # Where the source is in the same database, this is its own transaction.
    with transaction.atomic(savepoint=False):
        row = SpotifyToken.objects.filter(pk=found.user_id).first()
        if row and was_refused_here(row, found):
            return Moved(End.KEPT)
        adopted = adopt(
            found.user_id,
            access_token=found.access_token,
            refresh_token=found.refresh_token,
            expires_at=found.expires_at,
            scope=found.scope,
            authorized_at=found.authorized_at,
            account_id=found.account_id,
            due_at=due_at,
            cause=Cause.ADOPTED,
        )
        older_copy = source.erases_older_copies and row and _is_healthy_and_later(row, found)
        if adopted or older_copy:
            copy.erase()
    return Moved(End.MOVED if adopted else End.KEPT)


def forecast(found: Iterable[Candidate]) -> Iterator[tuple[Candidate, Moved]]:
    """What would come of each, for the rehearsal. Raises django.db.Error."""
    candidates = list(found)
    rows = SpotifyToken.objects.in_bulk([each.user_id for each in candidates])
    accounts = {each.account_id for each in candidates if each.account_id}
    taken = SpotifyToken.objects.filter(account_id__in=accounts)
    owners = dict(taken.values_list("account_id", "user_id"))
    for candidate in candidates:
        row, owner = rows.get(candidate.user_id), owners.get(candidate.account_id)
        yield candidate, _forecast(row, candidate, owner=owner)


def _forecast(row: SpotifyToken | None, found: Candidate, *, owner: UserId | None) -> Moved:
    """`owner` is who has connected this Spotify account here. The order is that of a move."""
    if row and was_refused_here(row, found):
        return Moved(End.KEPT)
    if owner not in {None, found.user_id}:
        return Moved(End.BAD, _TAKEN)
    if row is None:
        return Moved(End.MOVED)
    accounts = {row.account_id, found.account_id}
    if row.status not in SpotifyToken.ERASED and None not in accounts and len(accounts) > 1:
        return Moved(End.BAD, _OTHER_ACCOUNT)
    return Moved(End.KEPT if _would_be_kept(row, found) else End.MOVED)


def _would_be_kept(row: SpotifyToken, found: Candidate) -> bool:
    approved = found.authorized_at
    if row.closed_at and (approved is None or row.closed_at >= approved):
        return True
    if row.status in _LIVING or _is_required_by_admin(row):
        return approved is None or row.authorized_at >= approved
    return False


def _is_required_by_admin(row: SpotifyToken) -> bool:
    """Whether an administrator requires that the user reconnects."""
    required = row.status == SpotifyToken.Status.RECONNECT_REQUIRED
    return required and row.last_error == FailureCode.REQUIRED_BY_ADMIN


def was_refused_here(row: SpotifyToken, found: Candidate) -> bool:
    """Whether Spotify has refused this very token already."""
    if row.status != SpotifyToken.Status.RECONNECT_REQUIRED:
        return False
    try:
        return row.refresh_token == found.refresh_token
    except DecryptionError:
        return False


def _is_healthy_and_later(row: SpotifyToken, found: Candidate) -> bool:
    healthy = row.status in _LIVING and row.suspected_at is None
    return healthy and (found.expires_at is None or row.expires_at >= found.expires_at)
