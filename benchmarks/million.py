"""As many tokens as you like, made by SQL alone, and hours of refreshing in minutes.

The ciphertexts have the length of real ones and decrypt to nothing: claims and writes do
not look inside.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.management import call_command
from django.db import connection

from spotify_auth.connections import database_now

LIFETIME = 3600
"""Seconds that an access token lives."""
MILLION = 1_000_000
_TEMPLATE = "bench_million"

_PEOPLE = """
INSERT INTO accounts_user (password, is_superuser, first_name, last_name, email, is_staff,
                           is_active, date_joined, account_id, display_name)
SELECT '!' || md5(n::text), false, '', '', '', false, true, now(), md5(n::text), 'Listener ' || n
FROM generate_series(1, %s) AS n
"""
# 250 and 164 bytes: Spotify's tokens of about 215 and 131 characters, sealed.
_TOKENS = """
INSERT INTO spotify_auth_spotifytoken (
    user_id, status, access_token, refresh_token, scope, generation, authorized_at,
    reauthorize_by, refreshed_at, expires_at, due_at, due_cause, failures, last_error)
SELECT id, 'active', substr(decode(repeat(md5(id::text), 16), 'hex'), 1, 250),
       substr(decode(repeat(md5((-id)::text), 11), 'hex'), 1, 164),
       'user-top-read user-read-recently-played user-read-currently-playing playlist-read-private',
       1, issued, issued + interval '182 days',
       issued, issued + make_interval(secs => %(lifetime)s),
       -- Refreshed all along: due moments lie evenly in the next three quarters of a lifetime.
       issued + make_interval(secs => %(lifetime)s * 0.75), 'schedule', 0, ''
FROM (SELECT id, %(now)s - make_interval(secs => %(lifetime)s * 0.75 * random()) AS issued
      FROM accounts_user) AS people
"""
# A refresh's change of the row, for all tokens that fall due by a given time, in that order.
_CHURN = """
UPDATE spotify_auth_spotifytoken
SET access_token = substr(access_token, 2) || '\\x00',
    refresh_token = substr(refresh_token, 2) || '\\x00',
    generation = generation + 1, refreshed_at = due_at,
    expires_at = due_at + make_interval(secs => %(lifetime)s),
    due_at = due_at + make_interval(secs => %(lifetime)s * (0.7 + 0.1 * random())),
    due_cause = 'schedule', asked_by = '', failures = 0, suspected_at = NULL, last_error = ''
WHERE status = 'active' AND due_at <= %(until)s
"""


@contextmanager
def database_of(name: str) -> Iterator[None]:
    """Let this thread work in another database of the same server."""
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


@contextmanager
def databases(names: Iterable[str]) -> Iterator[None]:
    """Empty databases beside the usual one, for as long as they are needed."""
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f'CREATE DATABASE "{name}"')
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f'DROP DATABASE "{name}"')


@contextmanager
def million_tokens(name: str) -> Iterator[None]:
    """Let this thread work in a database with a million tokens, none due within half an hour.

    It is a copy: several parts need one, and filling it takes longer than they do.
    """
    if not _exists(_TEMPLATE):
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{_TEMPLATE}"')
        fill(_TEMPLATE, tokens=MILLION, now=database_now() + timedelta(minutes=30))
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{_TEMPLATE}" STRATEGY file_copy')
    try:
        with database_of(name):
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}"')


def _exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


def fill(name: str, *, tokens: int, now: datetime) -> None:
    """Give a database the real schema and this many tokens, as if refreshed for hours."""
    with database_of(name):
        call_command("migrate", verbosity=0)
        fill_tables(tokens=tokens, now=now)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def fill_tables(*, tokens: int, now: datetime) -> None:
    """The same into the empty tables of this thread's database, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_PEOPLE, [tokens])
        cursor.execute(_TOKENS, {"lifetime": LIFETIME, "now": now})


@dataclass(kw_only=True)
class Refreshing:
    """Refreshing by SQL in simulated time, in the order of `due_at`.

    Autovacuum is off; VACUUM runs in the minutes in which autovacuum, looking once a
    minute as it does by default, would find its threshold passed.
    """

    clock: datetime
    refreshed: int = 0
    vacuums: int = 0
    _threshold: float = 0
    _dead: int = 0

    def __post_init__(self) -> None:
        self._threshold = _vacuum_threshold()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE spotify_auth_spotifytoken SET (autovacuum_enabled = off)")

    def pass_time(self, span: timedelta) -> None:
        """Refresh, in one statement, all that falls due in the next while."""
        self.clock += span
        with connection.cursor() as cursor:
            # The order of the index is the order in which lanes would come.
            cursor.execute("SET enable_bitmapscan = off; SET enable_seqscan = off")
            cursor.execute(_CHURN, {"lifetime": LIFETIME, "until": self.clock})
            refreshed = cursor.rowcount
            cursor.execute("RESET enable_bitmapscan; RESET enable_seqscan")
        self.refreshed += refreshed
        self._dead += refreshed

    def vacuum_if_due(self) -> None:
        """As autovacuum would at the end of this minute."""
        if self._dead > self._threshold:
            with connection.cursor() as cursor:
                cursor.execute("VACUUM spotify_auth_spotifytoken")
            self._dead = 0
            self.vacuums += 1


def _vacuum_threshold() -> float:
    """Dead rows beyond which autovacuum works on the table of tokens."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT option_name, option_value::float
            FROM pg_class, pg_options_to_table(reloptions)
            WHERE oid = 'spotify_auth_spotifytoken'::regclass
              AND option_name LIKE 'autovacuum_vacuum%'
            """
        )
        own = dict(cursor.fetchall())
        cursor.execute(
            """
            SELECT reltuples, current_setting('autovacuum_vacuum_threshold')::float,
                   current_setting('autovacuum_vacuum_scale_factor')::float
            FROM pg_class WHERE oid = 'spotify_auth_spotifytoken'::regclass
            """
        )
        rows, threshold, share = cursor.fetchone()
    threshold = own.get("autovacuum_vacuum_threshold", threshold)
    return float(threshold + own.get("autovacuum_vacuum_scale_factor", share) * rows)
