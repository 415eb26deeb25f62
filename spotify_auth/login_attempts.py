"""Logins under way: one sealed cookie in the browser, and a row once a state is used.

What began costs this service nothing that a stranger could fill: the cookie holds the
attempts themselves, encrypted and bound to this purpose. A row is written when the code of an
attempt is about to be traded, so that a `state` is good for one use even when two requests
bring it together, to two hosts. All times are PostgreSQL's.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta

from django.db import connection

from spotify_auth.encryption import DecryptionError, cipher

KEPT = 5
"""Attempts in a cookie: the newest, so that several tabs may log in."""
LONGEST_NEXT = 200
"""Characters of a page to go to afterwards; a longer one is dropped."""
LONGEST_COOKIE = 3800
"""Browsers refuse a cookie of more than 4096 bytes, its name included."""

_PLACE = "cookie.login_attempts.1"
"""Bound to the cookie and to the form of its contents: another version's are not misread."""

# A login that could not come back must not begin: this statement changes nothing, and is refused
# where nothing can be changed (a standby).
_NOW = """
WITH refused_if_read_only AS (DELETE FROM spotify_auth_usedlogin WHERE false)
SELECT extract(epoch FROM now())::float8
"""

# The age is compared both ways: a time that lies far ahead was given before the clock was set back.
_USE = """
INSERT INTO spotify_auth_usedlogin (state_digest, used_at)
SELECT %(state_digest)s, now()
WHERE abs(extract(epoch FROM now()) - %(begun_at)s) < %(lifetime)s
ON CONFLICT DO NOTHING
RETURNING used_at
"""

_FORGET = """
DELETE FROM spotify_auth_usedlogin WHERE state_digest IN (
    SELECT state_digest FROM spotify_auth_usedlogin
    WHERE used_at < now() - make_interval(secs => %s) LIMIT %s
)
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that has gone to Spotify, and who began it. The fields are in the cookie's order."""

    state_digest: str
    """SHA-256 of the state, in hexadecimal."""
    code_verifier: str = field(repr=False)
    door: str
    begun_by: str | None
    """The primary key of the user who was logged in; blank for nobody. None: not known
    (`login_rows`)."""
    next_url: str
    begun_at: float
    """Seconds since 1970."""


def digest(secret: str) -> str:
    """What an attempt and its row know of a state."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read(cookie: str) -> list[Attempt]:
    """The attempts in a cookie, oldest first; none if it was not sealed here, or not for this."""
    if not cookie:
        return []
    try:
        sealed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
        return [Attempt(*fields) for fields in json.loads(cipher().decrypt(sealed, place=_PLACE))]
    except (DecryptionError, binascii.Error, ValueError):
        return []


def seal(attempts: Sequence[Attempt]) -> str:
    """A cookie with the newest of these attempts, as many as fit."""
    kept = list(attempts[-KEPT:])
    cookie = _sealed(kept)
    while len(cookie) > LONGEST_COOKIE and len(kept) > 1:
        kept = kept[1:]
        cookie = _sealed(kept)
    return cookie


def _sealed(attempts: Sequence[Attempt]) -> str:
    text = json.dumps([astuple(attempt) for attempt in attempts], ensure_ascii=False)
    return base64.urlsafe_b64encode(cipher().encrypt(text, place=_PLACE)).decode().rstrip("=")


def now() -> float:
    """PostgreSQL's clock, in seconds since 1970, if PostgreSQL takes changes.

    Raises django.db.Error, also if it takes none.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NOW)
        seconds: float = cursor.fetchone()[0]
    return seconds


def use(attempt: Attempt, *, lifetime: timedelta) -> datetime | None:
    """Use an attempt up; PostgreSQL's clock at that moment, or None if it is used or too old."""
    with connection.cursor() as cursor:
        cursor.execute(
            _USE,
            {
                "state_digest": attempt.state_digest,
                "begun_at": attempt.begun_at,
                "lifetime": lifetime.total_seconds(),
            },
        )
        row = cursor.fetchone()
    return row[0] if row else None


def forget_used(*, older_than: timedelta, at_once: int) -> int:
    """Delete rows of states that are too old to come back anyway; how many they were."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [older_than.total_seconds(), at_once])
        return int(cursor.rowcount)
