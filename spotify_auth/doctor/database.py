"""PostgreSQL: which it is, how much it takes, what stands before it, and its tables."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from django.db import connection

from spotify_auth import health
from spotify_auth.checks import connections_allowed
from spotify_auth.conf import settings
from spotify_auth.doctor import rights
from spotify_auth.doctor.findings import Finding, ok, problem, warning
from spotify_auth.maintenance import functions

CLOCKS_MAY_DIFFER = 2.0
"""Seconds between PostgreSQL's clock and this host's."""

_SERVER = """
SELECT current_setting('server_version'), pg_is_in_recovery(),
       current_setting('transaction_read_only')::bool, pg_backend_pid(),
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""


class _Server(NamedTuple):
    """What PostgreSQL says of itself."""

    version: str
    is_standby: bool
    is_read_only: bool
    backend: int
    in_use: int


def look_at_postgresql() -> Iterator[Finding]:
    """Version, primary or standby, connections, a pooler before it, its clock, our rights."""
    if connection.vendor != "postgresql":
        yield problem(
            f"The default database is {connection.display_name}.",
            "Tokens are claimed under PostgreSQL's row locks: set ENGINE and DATABASE_URL.",
        )
        return
    with connection.cursor() as cursor:
        cursor.execute(_SERVER)
        server = _Server(*cursor.fetchone())
    yield _version(server)
    if server.is_standby or server.is_read_only:
        what = "a standby" if server.is_standby else "read only"
        yield problem(
            f"It is {what}: tokens are read, and none is refreshed.",
            "Let DATABASE_URL lead to the primary, or promote this one. "
            "default_transaction_read_only must be off.",
        )
    pooled = cast(Any, connection.connection).info.backend_pid != server.backend
    yield _pooler() if pooled else _connections(server)
    yield _clock()
    yield from rights.look()


def _version(server: _Server) -> Finding:
    # One that is too old takes no connection of Django's: `examination` has words for that.
    place = connection.settings_dict
    where = f"{place['HOST'] or 'a local socket'}:{place['PORT'] or '5432'}"
    return ok(f"PostgreSQL {server.version} answers at {where}, database {place['NAME']}.")


def _pooler() -> Finding:
    # A pooler gives a client a number of its own for the session, and not PostgreSQL's.
    return ok(
        "A pooler stands before it. Its pool must be larger than the "
        f"{settings.REFRESH_LANES} of REFRESH_LANES and all threads of the web servers together, "
        "since a lane holds its transaction over an exchange."
    )


def _connections(server: _Server) -> Finding:
    most, allowed = settings.MOST_DATABASE_CONNECTIONS, connections_allowed()
    if most > allowed:
        return problem(
            f"Up to {most} connections are opened, and it takes {allowed}.",
            "Raise max_connections, lower WORKER_CONCURRENCY, or put a pooler before it "
            "(docs/how-to/scale.md has the formula).",
        )
    compared = f"up to {most} are opened" if most else "MOST_DATABASE_CONNECTIONS is not set"
    return ok(f"It takes {allowed} connections: {compared}, {server.in_use} are in use.")


def _clock() -> Finding:
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float")
        theirs = float(cursor.fetchone()[0])
    ahead = theirs - (before + time.time()) / 2
    if abs(ahead) > CLOCKS_MAY_DIFFER:
        return warning(
            f"Its clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this host's.",
            "Let NTP set both. Tokens go by PostgreSQL's clock alone; log lines, the admin's "
            "logins and certificates go by this host's.",
        )
    return ok(f"Its clock and this host's differ by {abs(ahead):.1f} s.")


def look_at_migrations() -> Iterator[Finding]:
    """All are applied."""
    found = health.MigrationCheck()()
    if found.ok:
        yield ok("All migrations are applied.")
        if functions.missing():
            yield warning(
                "The functions that keep the plans of refreshes are missing: each refresh costs "
                "PostgreSQL twice as much.",
                "Run `manage.py migrate` as a role that may create functions.",
            )
    else:
        yield problem(
            f"Migrations: {found.detail.partition(':')[0]}.",
            "Run `manage.py migrate` before the processes of this version start.",
        )
