"""When users were last seen, for REFRESH_DORMANT_AFTER."""

import logging
import time

from asgiref.sync import sync_to_async
from django.db import Error, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.functional import empty

from spotify_auth import tokens
from spotify_auth.both_ways import AsyncGetResponse, BothWays, GetResponse
from spotify_auth.database_faults import leave_standby
from spotify_auth.models import UserId

logger = logging.getLogger(__name__)

SEEN_AGAIN_SECONDS = 24 * 3600.0
"""A user is noted once in this time."""
AFTER_A_FAILURE_SECONDS = 60.0
"""After PostgreSQL did not take a note, this process makes none for this long."""
REMEMBERED = 50_000
"""Users whom a process remembers: some megabytes."""

# Every part reads the rows as they were before: the age is that of the former note.
_NOTE = """
WITH noted AS (
    INSERT INTO spotify_auth_lastseen AS known (user_id, seen_at)
    SELECT %(user_id)s, now()
    WHERE NOT EXISTS (SELECT FROM spotify_auth_lastseen
                      WHERE user_id = %(user_id)s
                        AND seen_at > now() - make_interval(secs => %(again)s))
    ON CONFLICT (user_id) DO UPDATE SET seen_at = excluded.seen_at
    RETURNING 1
)
SELECT EXISTS (SELECT FROM noted),
       (SELECT extract(epoch FROM now() - seen_at)::float FROM spotify_auth_lastseen
        WHERE user_id = %(user_id)s)
"""


class LastSeenMiddleware(BothWays):
    """Notes once a day that a user was here, and wakes the user's dormant token.

    Recorded even while dormancy is disabled, so that enabling it does not suspend active
    users. Most requests cost nothing: each process remembers whom it has asked about, a page
    that did not ask for its user is left alone, and nothing is added to the session.

    A page never fails because of it: a database that is read-only or away costs a line in
    the log. It belongs below AuthenticationMiddleware.
    """

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        super().__init__(get_response)
        # By this process's monotonic clock; whether a note is due is PostgreSQL's to say.
        self._ask_again: dict[UserId, float] = {}
        self._paused_until = 0.0

    def answer(self, request: HttpRequest, get_response: GetResponse) -> HttpResponse:
        """Answer, and then note who asked."""
        response = get_response(request)
        user_id = _who_asked(request)
        if user_id is not None and self._is_due(user_id):
            self._see(user_id)
        return response

    async def aanswer(self, request: HttpRequest, get_response: AsyncGetResponse) -> HttpResponse:
        """The same; a thread is needed once a day."""
        response = await get_response(request)
        user_id = _who_asked(request)
        if user_id is not None and self._is_due(user_id):
            await sync_to_async(self._see)(user_id)
        return response

    def _is_due(self, user_id: UserId) -> bool:
        return time.monotonic() >= self._ask_again.get(user_id, self._paused_until)

    def _see(self, user_id: UserId) -> None:
        now = time.monotonic()
        try:
            # A savepoint, if a transaction is open: an error must not spoil that.
            with transaction.atomic():
                due_in = self.note(user_id)
        except Error as error:
            leave_standby(error)
            self._paused_until = now + AFTER_A_FAILURE_SECONDS
            logger.warning("last_seen_not_noted reason=%s", type(error).__name__)
            return
        if len(self._ask_again) >= REMEMBERED:
            self._ask_again.clear()
        self._ask_again[user_id] = now + due_in

    def note(self, user_id: UserId) -> float:
        """Write that a user was here, unless that was written within a day; then wake the token.

        Returns in how many seconds the next note is due. Raises django.db.Error.
        """
        with connection.cursor() as cursor:
            cursor.execute(_NOTE, {"user_id": user_id, "again": SEEN_AGAIN_SECONDS})
            noted, age = cursor.fetchone()
        if not noted:
            return SEEN_AGAIN_SECONDS - float(age or 0)
        tokens.wake(user_id)
        return SEEN_AGAIN_SECONDS


def _who_asked(request: HttpRequest) -> UserId | None:
    """The user whom the page has loaded: `request.user`, or `await request.auser()`."""
    user = getattr(request, "user", None)
    # Loading it here would cost queries, and make the response vary by cookie.
    if getattr(user, "_wrapped", None) is empty:
        user = getattr(request, "_acached_user", None)
    return None if user is None else user.pk
