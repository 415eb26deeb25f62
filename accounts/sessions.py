"""Django's sessions in the database, under a digest of their keys.

A key is what a browser's cookie holds: whoever has it is the user. So the database keeps the
first 160 bits of its SHA-256 alone, as many as Django's column takes, and nothing that can be
read there opens a session. A key has 165 random bits: no salt and no slow hash is needed.

The previous version stores the key itself, and finds only such rows. Its rows are used as they
are while it may still run beside this one, and are then put under their digest by `clearsessions`
(house-keeping calls it every hour). The next release drops `stored_forms` and `_HASH_KEYS`.
"""

import hashlib
import logging
from datetime import datetime, timedelta
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import LoginSession, User
from spotify_auth.secrecy import forgets_variables

logger = logging.getLogger(__name__)

PROLONG_AFTER = timedelta(days=1)
"""A session is prolonged once in this time: other visits write nothing."""
SEEN_AGAIN = timedelta(hours=1)
"""A session is noted as seen once in this time."""
AT_ONCE = 5000
"""Rows for one statement of `clearsessions`."""
_DIGEST_LENGTH = 40

# A day after the migration the previous version does not run any more.
_HASH_KEYS = """
UPDATE django_session
SET session_key = left(encode(sha256(convert_to(session_key, 'UTF8')), 'hex'), 40)
WHERE session_key IN (
    SELECT session_key FROM django_session WHERE length(session_key) < 40
    LIMIT %s FOR UPDATE SKIP LOCKED)
  AND EXISTS (
    SELECT FROM django_migrations
    WHERE app = 'accounts' AND name = '0006_login_session' AND applied < now() - interval '1 day')
"""
# The row of the session is locked, so that a log-out at the same moment comes before or after.
_NOTE = """
INSERT INTO accounts_loginsession (session_id, user_id, user_agent)
SELECT session_key, %(user_id)s, %(user_agent)s FROM django_session
WHERE session_key = ANY(%(stored)s) FOR KEY SHARE
ON CONFLICT (session_id) DO UPDATE
SET user_id = excluded.user_id, user_agent = excluded.user_agent, seen_at = now()
"""


def digest(session_key: str) -> str:
    """What the database stores in place of a key."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:_DIGEST_LENGTH]


def end_all(user: User) -> None:
    """Log a user out everywhere, also where no row says whose session it is.

    The rows are deleted, and what sessions must know of their user to be valid is changed. Raises
    django.db.Error.
    """
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(sessions_ended=F("sessions_ended") + 1)
        Session.objects.filter(login__user_id=user.pk).delete()
    logger.info("sessions_ended user_id=%s", user.pk)


def end(chosen: LoginSession) -> None:
    """Log a user out in one browser. Raises django.db.Error."""
    Session.objects.filter(pk=chosen.session_id).delete()
    logger.info("session_ended user_id=%s", chosen.user_id)


class SessionStore(db.SessionStore):
    """Django's, which stores digests, and remembers what it has read of the row."""

    ends_at: datetime | None = None
    """The end that the row names; None while no row was loaded."""
    seen_at: datetime | None = None
    """When its browser was last noted; None if it was not yet."""

    @forgets_variables
    def exists(self, session_key: str) -> bool:
        """Whether there is a session with this key."""
        return Session.objects.filter(pk__in=stored_forms(session_key)).exists()

    def create(self) -> None:
        """Begin a new session, which nobody has noted yet."""
        super().create()
        self.seen_at = None

    def create_model_instance(self, data: dict[str, object]) -> Session:
        """The row for this session, under the digest of its key."""
        row = super().create_model_instance(data)
        row.session_key = digest(row.session_key)
        return cast(Session, row)

    @forgets_variables
    def save(self, must_create: bool = False) -> None:
        """Store the session, under the digest from now on. Raises UpdateError if it was ended."""
        if self.session_key is not None and not must_create:
            # Of the previous version alone: a row under its digest is written once, below.
            former = Session.objects.filter(pk__in=stored_forms(self.session_key)[1:])
            former.update(session_key=digest(self.session_key))
        super().save(must_create=must_create)

    @forgets_variables
    def delete(self, session_key: str | None = None) -> None:
        """End a session: this one, or the one with that key."""
        key = session_key or self.session_key
        if key is not None:
            Session.objects.filter(pk__in=stored_forms(key)).delete()

    @forgets_variables
    def prolong(self) -> bool:
        """Let it end SESSION_COOKIE_AGE from now; False if that gains less than a day.

        It is an UPDATE of the end alone: it never brings back a session that a login in
        another tab has replaced, and overwrites nothing that another request stored. Raises
        django.db.Error.
        """
        if self.ends_at is None:
            return False  # nobody looked at it: asking for its end would load it
        end: datetime = self.get_expiry_date()
        if end - self.ends_at < PROLONG_AFTER:
            return False
        # A savepoint, if a transaction is open: an error must not spoil that.
        with transaction.atomic():
            rows = Session.objects.filter(pk__in=stored_forms(self.session_key))
            return bool(rows.update(expire_date=end))

    @forgets_variables
    def note(self, *, user_id: int, user_agent: str) -> None:
        """Write whose session this is and in which browser, if that was not done within the hour.

        Never brings an ended session back. Raises django.db.Error.
        """
        if self.session_key is None:
            return
        if self.seen_at is not None and timezone.now() - self.seen_at < SEEN_AGAIN:
            return
        note: dict[str, Any] = {
            "user_id": user_id,
            "user_agent": user_agent,
            "stored": stored_forms(self.session_key),
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_NOTE, note)

    @classmethod
    def clear_expired(cls) -> None:
        """Delete expired sessions, and put those of the previous version under their digest."""
        super().clear_expired()
        with connection.cursor() as cursor:
            changed = AT_ONCE
            while changed == AT_ONCE:
                cursor.execute(_HASH_KEYS, [AT_ONCE])
                changed = cursor.rowcount

    # No view of this site is asynchronous: one that came would not store a key in the clear.

    async def aload(self) -> dict[str, object]:
        """See `load`."""
        return await sync_to_async(self.load)()

    async def aexists(self, session_key: str) -> bool:
        """See `exists`."""
        return await sync_to_async(self.exists)(session_key)

    async def asave(self, must_create: bool = False) -> None:
        """See `save`."""
        await sync_to_async(self.save)(must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        """See `delete`."""
        await sync_to_async(self.delete)(session_key)

    @forgets_variables
    def _get_session_from_db(self) -> Session | None:
        rows = Session.objects.select_related("login").filter(
            pk__in=stored_forms(self.session_key), expire_date__gt=timezone.now()
        )
        row: Session | None = rows.first()
        if row is None:
            self._session_key = None
        noted: LoginSession | None = getattr(row, "login", None)
        self.ends_at = row.expire_date if row else None
        self.seen_at = noted.seen_at if noted else None
        return row


def stored_forms(session_key: str | None) -> list[str]:
    """What a row of this key may be found under: its digest, or what the previous version stored.

    A digest that is brought as a key is none: else it could be read in the database and used.
    """
    if not session_key:
        return []
    hashed = digest(session_key)
    return [hashed] if len(session_key) >= _DIGEST_LENGTH else [hashed, session_key]
