"""After a backup of PostgreSQL was restored: tokens that Spotify may have replaced since.

A token from the backup may have been rotated afterwards. It is not presented any more: at a
strict server a dead refresh token ends the whole grant (RFC 9700, section 4.14), and an outage
guard would take the many refusals for an outage. Its user is asked to reconnect. A grant that
is saved in Redis, which was not restored, is newer than its row and is stored instead.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from spotify_auth import cooldown
from spotify_auth.conf import settings
from spotify_auth.cooldown import Reason
from spotify_auth.failure_codes import FailureCode
from spotify_auth.maintenance import newer_grants
from spotify_auth.maintenance.newer_grants import ASKED_BY, Found
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.notices import outbox, pauses
from spotify_auth.notices.models import Kind
from spotify_auth.notices.outbox import Draft, Written
from spotify_auth.refresh import attempts, saved_grants
from spotify_auth.schedule import longest_exchange
from spotify_auth.sentences import why_reconnect

AT_ONCE = 500
COME_BACK_SECONDS = 0.5
PAUSE_SECONDS = 3600.0
"""All refreshing pauses meanwhile, and no longer than this if the command is killed."""

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
        INSERT INTO spotify_auth_notice (kind, at, user_id, data)
        SELECT '{Kind.RECONNECT_REQUIRED}', clock_timestamp(), user_id,
               jsonb_build_object(
                   'user_id', user_id, 'generation', generation,
                   'status', 'reconnect_required', 'reason', '{FailureCode.BACKUP_RESTORED}',
                   'sentence', %(sentence)s)
        FROM written WHERE was_connected
        RETURNING id, at, user_id
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
        for found in newer_grants.newest():
            if self._stopping.is_set():
                return
            if self._stored(found):
                self.result.saved += 1
            elif self._belongs_to_the_present(found):
                continue
            saved_grants.forget(found.names)

    def _stored(self, found: Found) -> bool:
        with transaction.atomic():
            longest = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{longest}s"])
            row = newer_grants.row_for(
                found, self._backup_at, not_rotated=self._not_rotated, lock=True
            )
            if row is None or found.saved is None:
                return False
            newer_grants.store(row, found.saved, generation=found.generation + 1)
        return True

    def _belongs_to_the_present(self, found: Found) -> bool:
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
