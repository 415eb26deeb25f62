"""Django's sessions in the database, which a visit prolongs once a day."""

from datetime import datetime, timedelta

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import transaction

PROLONG_AFTER = timedelta(days=1)
"""A session is prolonged once in this time: other visits write nothing."""


class SessionStore(db.SessionStore):
    """Django's, which remembers when the session that it loaded ends."""

    ends_at: datetime | None = None
    """The end that the row names; None while no row was loaded."""

    def _get_session_from_db(self) -> Session | None:
        row: Session | None = super()._get_session_from_db()  # type: ignore[misc]
        self.ends_at = row.expire_date if row else None
        return row

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
            rows = Session.objects.filter(session_key=self.session_key)
            return bool(rows.update(expire_date=end))
