"""Moving one token: stored here and erased at its source in one transaction, or neither."""

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
from spotify_auth.models import Cause, SpotifyToken
from spotify_auth.secrecy import forgets_variables

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
        different = isinstance(error, DifferentAccount)
        return Moved(
            End.BAD,
            "the user has connected another Spotify account here"
            if different
            else "another user has connected this Spotify account",
        )
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


def would_be_kept(row: SpotifyToken | None, found: Candidate) -> bool:
    """Whether what is stored here would stay: a forecast, for the rehearsal."""
    if row is None:
        return False
    approved = found.authorized_at
    if row.closed_at and (approved is None or row.closed_at >= approved):
        return True
    if row.status in _LIVING or _is_required_by_admin(row):
        return approved is None or row.authorized_at >= approved
    return was_refused_here(row, found)


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
