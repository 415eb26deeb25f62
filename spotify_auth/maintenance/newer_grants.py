"""Saved grants that are newer than the rows of a restored backup.

Redis was not restored: a grant that waits there may be the last pair that Spotify gave.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.notices import outbox
from spotify_auth.notices.models import Kind
from spotify_auth.refresh import attempts, saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from spotify_auth.refresh.store import STAYS
from spotify_auth.sentences import why_recovered

ASKED_BY = "manage.py tokens after-restore"

_STORE = f"""
UPDATE spotify_auth_spotifytoken SET
    access_token = %(access_token)s, refresh_token = coalesce(%(refresh_token)s, refresh_token),
    scope = coalesce(nullif(%(scope)s, ''), scope), generation = %(generation)s,
    refreshed_at = %(issued_at)s,
    expires_at = %(issued_at)s + make_interval(secs => %(expires_in)s),
    due_at = now(), due_cause = 'schedule', asked_by = '', appeal_at = NULL,
    status = CASE WHEN {STAYS} THEN status ELSE 'active' END,
    last_error = CASE WHEN {STAYS} THEN last_error ELSE '' END,
    appeals = 0, failures = 0, suspected_at = NULL
WHERE user_id = %(user_id)s
"""  # noqa: S608  (constants of this app)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A user's newest saved grant. `saved` is None if it cannot be read."""

    names: list[str]
    """Of all that are saved for this user."""
    user_id: Any
    """As text: a number or a UUID."""
    generation: int
    saved: SavedGrant | None
    superseded: bool
    """A later generation was presented to Spotify, as its mark says."""

    @property
    def issued_at(self) -> datetime | None:
        """When its exchange began."""
        return datetime.fromisoformat(self.saved.issued_at) if self.saved else None


def newest() -> Iterator[Found]:
    """Each user's newest saved grant. Raises redis.RedisError."""
    newest: dict[str, tuple[int, bytes]] = {}
    names: dict[str, list[str]] = {}
    for name, sealed in saved_grants.stored():
        user_id, generation = saved_grants.owner_of(name)
        newest[user_id] = max(newest.get(user_id, (0, b"")), (generation, sealed))
        names.setdefault(user_id, []).append(name)
    marks = dict(sorted(attempts.marked()))
    for user_id, (generation, sealed) in newest.items():
        read = saved_grants.read(user_id, generation, sealed)
        yield Found(
            names=names[user_id],
            user_id=user_id,
            generation=generation,
            saved=read if isinstance(read, SavedGrant) else None,
            superseded=marks.get(user_id, 0) > generation,
        )


def row_for(
    found: Found, backup_at: datetime, *, not_rotated: bool, lock: bool = False
) -> SpotifyToken | None:
    """The row over which a saved grant can be stored: its pair is the last that Spotify gave."""
    if found.saved is None or found.issued_at is None or found.issued_at <= backup_at:
        return None
    connected = SpotifyToken.objects.filter(
        pk=found.user_id,
        access_token__isnull=False,
        refreshed_at__lte=backup_at,
        generation__lte=found.generation,
    )
    row = (connected.select_for_update() if lock else connected).first()
    if row is None or found.superseded:
        return None
    # Without a new refresh token the grant leaves the one in use: the row's, if none came between.
    whole = found.saved.grant.refresh_token is not None or not_rotated
    return row if whole or row.generation == found.generation else None


def store(row: SpotifyToken, saved: SavedGrant, *, generation: int) -> None:
    """Write a saved grant over a row that `row_for` has locked. Raises django.db.Error."""
    grant = saved.grant
    sealed = {
        "access_token": SpotifyToken.seal("access_token", grant.access_token, user_id=row.pk),
        "refresh_token": grant.refresh_token
        and SpotifyToken.seal("refresh_token", grant.refresh_token, user_id=row.pk),
    }
    issued_at = datetime.fromisoformat(saved.issued_at)
    with connection.cursor() as cursor:
        cursor.execute(
            _STORE,
            {
                **sealed,
                "scope": grant.scope,
                "generation": generation,
                "issued_at": issued_at,
                "expires_in": grant.expires_in,
                "user_id": row.pk,
            },
        )
    TokenEvent.objects.create(
        user_id=row.pk,
        cause=Cause.RESCUE,
        asked_by=ASKED_BY,
        outcome=Outcome.REFRESHED,
        generation_before=row.generation,
        generation_after=generation,
        rotated=grant.refresh_token is not None,
        lifetime_granted=grant.expires_in,
    )
    after_verdict = row.status == SpotifyToken.Status.RECONNECT_REQUIRED
    stays = (
        row.status == SpotifyToken.Status.PAUSED or row.last_error == FailureCode.REQUIRED_BY_ADMIN
    )
    if (after_verdict or row.suspected_at) and not stays:
        outbox.write(
            outbox.of_token(
                Kind.RECOVERED,
                user_id=row.pk,
                generation=generation,
                status=SpotifyToken.Status.ACTIVE,
                reason="after_verdict" if after_verdict else "after_suspicion",
                sentence=why_recovered(after_verdict=after_verdict),
            )
        )
