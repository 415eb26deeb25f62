"""After a backup of PostgreSQL was restored: tokens that Spotify may have replaced since.

A token from the backup may have been rotated afterwards. It is not presented any more: at a
strict server a dead refresh token ends the whole grant (RFC 9700, section 4.14), and an outage
guard would take the many refusals for an outage. Its user is asked to reconnect. A grant that
is saved in Redis, which was not restored, is newer than its row and is stored instead.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from spotify_auth import cooldown
from spotify_auth.conf import settings
from spotify_auth.cooldown import Reason
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.notices import outbox, pauses
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft, Written
from spotify_auth.refresh import attempts, saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from spotify_auth.refresh.store import STAYS
from spotify_auth.schedule import longest_exchange
from spotify_auth.sentences import why_reconnect, why_recovered

AT_ONCE = 500
COME_BACK_SECONDS = 0.5
PAUSE_SECONDS = 3600.0
"""All refreshing pauses meanwhile, and no longer than this if the command is killed."""
A_SECOND = 100
"""Tokens that are kept become due at this rate per second, not all of them at once."""
ASKED_BY = "manage.py tokens after-restore"

_FROM_BACKUP = """
    refreshed_at <= %(backup_at)s
    AND (status IN ('active', 'paused')
         OR status = 'reconnect_required' AND appeal_at IS NOT NULL)
"""
_DUE_FROM_BACKUP = "refreshed_at <= %(backup_at)s AND status = 'active' AND due_at <= now()"
_BATCH = """
WITH looked_at AS (
    SELECT user_id FROM spotify_auth_spotifytoken
    WHERE {condition} {following} ORDER BY user_id LIMIT %(at_once)s
), locked AS (
    SELECT user_id, status IN ('active', 'paused') AS was_connected
    FROM spotify_auth_spotifytoken
    WHERE user_id IN (SELECT user_id FROM looked_at) AND {condition}
    FOR UPDATE SKIP LOCKED
), written AS (
    UPDATE spotify_auth_spotifytoken AS token SET {change}
    FROM locked WHERE token.user_id = locked.user_id AND {condition}
    RETURNING token.user_id, token.generation, was_connected
), noted AS ({event}), told AS ({notice})
SELECT looked_at.user_id, written.user_id IS NOT NULL, generation, told.id, told.at
FROM looked_at LEFT JOIN written USING (user_id) LEFT JOIN told ON told.user_id = written.user_id
ORDER BY looked_at.user_id
"""
_RECONNECT = _BATCH.format(
    condition=_FROM_BACKUP,
    change=f"""
        status = 'reconnect_required', appeal_at = NULL, due_cause = 'schedule', asked_by = '',
        last_error = CASE WHEN was_connected THEN '{FailureCode.BACKUP_RESTORED}'
                          ELSE last_error END
    """,
    event=f"""
        INSERT INTO spotify_auth_tokenevent (
            user_id, at, cause, asked_by, outcome, generation_before, generation_after, rotated,
            worker, error)
        SELECT user_id, clock_timestamp(), '{Cause.ADMIN}', '{ASKED_BY}',
               '{Outcome.RECONNECT_REQUIRED}', generation, generation, false, '',
               '{FailureCode.BACKUP_RESTORED}'
        FROM written WHERE was_connected
    """,  # noqa: S608  (constants of this app)
    notice=f"""
        INSERT INTO spotify_auth_notice (kind, at, user_id, once, data)
        SELECT '{Kind.RECONNECT_REQUIRED}', clock_timestamp(), user_id,
               '{Kind.RECONNECT_REQUIRED} ' || user_id || ' ' || generation,
               jsonb_build_object(
                   'user_id', user_id, 'generation', generation,
                   'status', 'reconnect_required', 'reason', '{FailureCode.BACKUP_RESTORED}',
                   'sentence', %(sentence)s)
        FROM written WHERE was_connected
        ON CONFLICT (once) DO NOTHING RETURNING id, at, user_id
    """,  # noqa: S608  (constants of this app)
    following="{following}",
)
_SPREAD = _BATCH.format(
    condition=_DUE_FROM_BACKUP,
    change="due_at = now() + random() * make_interval(secs => %(spread)s)",
    event="SELECT",
    notice="SELECT NULL::uuid AS id, NULL::timestamptz AS at, user_id FROM written WHERE false",
    following="{following}",
)
_STORE_SAVED = f"""
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
_SURVEY = """
SELECT count(*) FILTER (WHERE old AND status IN ('active', 'paused')),
       count(*) FILTER (WHERE old AND status = 'active' AND due_at <= now()),
       count(*) FILTER (WHERE old AND status = 'reconnect_required' AND appeal_at IS NOT NULL),
       count(*) FILTER (WHERE NOT old AND status IN ('active', 'paused', 'reconnect_required')),
       max(refreshed_at) FILTER (WHERE old), min(refreshed_at) FILTER (WHERE NOT old), now()
FROM (SELECT *, refreshed_at <= %(backup_at)s AS old FROM spotify_auth_spotifytoken) AS token
"""
_ROTATED = """
SELECT count(*) FILTER (WHERE rotated), count(*) FROM spotify_auth_tokenevent
WHERE at BETWEEN %(backup_at)s - interval '1 day' AND %(backup_at)s AND outcome = 'refreshed'
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What is there, before anything is changed."""

    connected: int
    """Active and paused tokens that are from the backup."""
    due: int
    """Those of them that are due."""
    appeals: int
    """Verdicts of the backup that would be appealed."""
    newer: int
    """Tokens that were stored after the backup's moment."""
    newest_old: datetime | None
    oldest_newer: datetime | None
    now: datetime
    rotated: int
    refreshed: int
    """Refreshes in the backup's last day; `rotated` of them brought a new refresh token."""
    saved: int
    """Grants in Redis that will be stored over tokens of the backup."""
    unreadable: int
    """Grants in Redis that no key here opens, or that another version wrote."""

    @property
    def spread(self) -> float:
        """Seconds over which due tokens that are kept are spread."""
        return self.due / A_SECOND


def survey(backup_at: datetime, *, not_rotated: bool) -> Survey:
    """Look, and change nothing. Raises django.db.Error and redis.RedisError."""
    with connection.cursor() as cursor:
        cursor.execute(_SURVEY, {"backup_at": backup_at})
        row = cursor.fetchone()
        cursor.execute(_ROTATED, {"backup_at": backup_at})
        rotated, refreshed = cursor.fetchone()
    found = list(_newest_saved_grants())
    usable = [each for each in found if _row_for(each, backup_at, not_rotated=not_rotated)]
    return Survey(
        connected=row[0],
        due=row[1],
        appeals=row[2],
        newer=row[3],
        newest_old=row[4],
        oldest_newer=row[5],
        now=row[6],
        rotated=rotated,
        refreshed=refreshed,
        saved=len(usable),
        unreadable=sum(each.saved is None for each in found),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
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


def _newest_saved_grants() -> Iterator[_Found]:
    newest: dict[str, tuple[int, bytes]] = {}
    names: dict[str, list[str]] = {}
    for name, sealed in saved_grants.stored():
        user_id, generation = saved_grants.owner_of(name)
        newest[user_id] = max(newest.get(user_id, (0, b"")), (generation, sealed))
        names.setdefault(user_id, []).append(name)
    marks = dict(sorted(attempts.marked()))
    for user_id, (generation, sealed) in newest.items():
        read = saved_grants.read(user_id, generation, sealed)
        yield _Found(
            names=names[user_id],
            user_id=user_id,
            generation=generation,
            saved=read if isinstance(read, SavedGrant) else None,
            superseded=marks.get(user_id, 0) > generation,
        )


def _row_for(
    found: _Found, backup_at: datetime, *, not_rotated: bool, lock: bool = False
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


@dataclass(slots=True)
class Result:
    """What came of it."""

    saved: int = 0
    changed: int = 0
    """Tokens that ask their users to reconnect, appeals that will not come, or tokens spread."""
    held: int = 0
    """Rows that stayed locked to the end."""


class AfterRestore:
    """One run over all tokens, until it is done or `stopping` is set. It may be run again."""

    def __init__(
        self,
        backup_at: datetime,
        *,
        not_rotated: bool,
        spread: float,
        stopping: threading.Event,
        progress: Callable[[int], None],
    ) -> None:
        self.result = Result()
        self._backup_at, self._not_rotated = backup_at, not_rotated
        self._statement = _SPREAD if not_rotated else _RECONNECT
        self._spread = spread
        self._stopping, self._progress = stopping, progress

    def run(self) -> Result:
        """Pause all refreshing, use what Redis has, go through the rows, end the pause.

        If it ends early the pause stays, for an hour at most: what is left to do must not be
        presented. Raises django.db.Error and redis.RedisError.
        """
        cooldown.start_or_raise(Reason.RESTORING, seconds=PAUSE_SECONDS)
        pauses.look()
        self._use_saved_grants()
        left = self._first_pass()
        self._come_back(left)
        if not (self._stopping.is_set() or self.result.held):
            attempts.forget_marks()
            cooldown.stop(Reason.RESTORING)
            pauses.look()
        return self.result

    def _use_saved_grants(self) -> None:
        """Store what can be stored, and delete the rest of what is from before.

        A generation of the time before would meet its own number again after some refreshes,
        and a lane would store its grant over a newer pair.
        """
        for found in _newest_saved_grants():
            if self._stopping.is_set():
                return
            if self._stored(found):
                self.result.saved += 1
            elif self._belongs_to_the_present(found):
                continue
            saved_grants.forget(found.names)

    def _stored(self, found: _Found) -> bool:
        with transaction.atomic():
            longest = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{longest}s"])
            row = _row_for(found, self._backup_at, not_rotated=self._not_rotated, lock=True)
            if row is None or found.saved is None:
                return False
            _store(row, found.saved, generation=found.generation + 1)
        return True

    def _belongs_to_the_present(self, found: _Found) -> bool:
        """Its user has logged in since, and it is no older than that pair."""
        newer = SpotifyToken.objects.filter(pk=found.user_id, refreshed_at__gt=self._backup_at)
        if found.issued_at:
            newer = newer.filter(refreshed_at__lte=found.issued_at)
        return newer.exists()

    def _first_pass(self) -> list[Any]:
        """Look at each row once; the keys of those that another session has locked."""
        left: list[Any] = []
        after: Any = None
        while not self._stopping.is_set():
            rows = self._batch("" if after is None else "AND user_id > %(after)s", after=after)
            if not rows:
                break
            left += [user_id for user_id, written in rows if not written]
            after = rows[-1][0]
        return left

    def _come_back(self, left: list[Any]) -> None:
        """Try again what was held, for as long as a lane may hold it."""
        tries = 2 * longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS) / COME_BACK_SECONDS
        while left and tries > 0 and not self._stopping.is_set():
            self._stopping.wait(COME_BACK_SECONDS)
            rows = self._batch("AND user_id = ANY(%(after)s)", after=left[:AT_ONCE])
            left = [user_id for user_id, written in rows if not written] + left[AT_ONCE:]
            tries -= 1
        self.result.held = len(left)

    def _batch(self, following: str, *, after: Any) -> list[tuple[Any, bool]]:
        with connection.cursor() as cursor:
            cursor.execute(
                self._statement.format(following=following),
                {
                    "backup_at": self._backup_at,
                    "at_once": AT_ONCE,
                    "after": after,
                    "spread": self._spread,
                    "sentence": why_reconnect(FailureCode.BACKUP_RESTORED),
                },
            )
            found = cursor.fetchall()
        for user_id, _, generation, notice_id, at in found:
            if notice_id is not None:
                outbox.announce(_verdict(user_id, generation), Written(notice_id, at))
        rows = [(user_id, written) for user_id, written, *_ in found]
        changed = sum(written for _, written in rows)
        self.result.changed += changed
        self._progress(changed)
        return rows


def _verdict(user_id: Any, generation: int) -> Draft:
    return outbox.of_token(
        Kind.RECONNECT_REQUIRED,
        user_id=user_id,
        generation=generation,
        status=SpotifyToken.Status.RECONNECT_REQUIRED,
        reason=FailureCode.BACKUP_RESTORED,
        sentence=why_reconnect(FailureCode.BACKUP_RESTORED),
    )


def _store(row: SpotifyToken, saved: SavedGrant, *, generation: int) -> None:
    grant = saved.grant
    sealed = {
        "access_token": SpotifyToken.seal("access_token", grant.access_token, user_id=row.pk),
        "refresh_token": grant.refresh_token
        and SpotifyToken.seal("refresh_token", grant.refresh_token, user_id=row.pk),
    }
    issued_at = datetime.fromisoformat(saved.issued_at)
    with connection.cursor() as cursor:
        cursor.execute(
            _STORE_SAVED,
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
    if after_verdict or row.suspected_at:
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
