"""A pgbouncer in transaction mode before the PostgreSQL of the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from dev import debian
from dev.postgres import owner
from dev.process import free_port
from dev.testing import temporary_directory
from tests.support.processes import LocalProcess

# Each transaction gets another session of the server, if there is one: whatever outlives a
# transaction is missed at once, or met by somebody else.
_CONFIGURATION = """
[databases]
* = host={HOST} port={PORT}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users.txt
pool_mode = transaction
server_round_robin = 1
default_pool_size = {pool_size}
min_pool_size = {pool_size}
max_client_conn = 200
; As docs/how-to/run-behind-pgbouncer.md has it.
server_connect_timeout = 5
tcp_user_timeout = 5000
"""


class Pgbouncer:
    """A running pgbouncer; `stop` ends it. Raises dev.debian.Unavailable where there is none."""

    def __init__(self, home: Path, *, pool_size: int) -> None:
        self.pool_size = pool_size
        self.port = free_port()
        program = debian.find_or_fetch("pgbouncer", package="pgbouncer")
        server = connection.settings_dict
        # Kept: a test may lead the default connection through pgbouncer.
        self._server = "@{HOST}:{PORT}/".format(**server)
        texts = {
            "users.txt": '"{USER}" "{PASSWORD}"\n'.format(**server),
            "pgbouncer.ini": _CONFIGURATION.format(
                **server, home=home, listen_port=self.port, pool_size=pool_size
            ),
        }
        for name, text in texts.items():
            (home / name).write_text(text)
            (home / name).chmod(0o600)
            os.chown(home / name, owner(), -1)
        # It refuses to be root, as PostgreSQL does.
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = LocalProcess(
            "pgbouncer",
            [str(program.path), *as_nobody, str(home / "pgbouncer.ini")],
            env=program.env,
            ready_when="process up",
        )
        self.process.ready()

    def through(self, database_url: str) -> str:
        """The same database, by way of pgbouncer."""
        assert self._server in database_url
        return database_url.replace(self._server, f"@127.0.0.1:{self.port}/")

    def left_in_sessions(self, database_url: str) -> set[str]:
        """What transactions that are over have left in the sessions of the server.

        Settings that pgbouncer hands on from client to client are none of it.
        """
        left: set[str] = set()
        with psycopg.connect(self.through(database_url), autocommit=True) as client:
            client.prepare_threshold = None
            for _ in range(3 * self.pool_size):
                left |= {name for (name,) in client.execute(_LEFT)}
        return left

    def stop(self) -> None:
        """End it."""
        self.process.teardown()


_LEFT = """
SELECT 'setting ' || name FROM pg_settings WHERE source = 'session'
  AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone',
                   'standard_conforming_strings')
UNION ALL SELECT 'prepared statement' FROM pg_prepared_statements
UNION ALL SELECT 'advisory lock' FROM pg_locks
  WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'channel' FROM pg_listening_channels()
UNION ALL SELECT 'cursor' FROM pg_cursors WHERE is_holdable
UNION ALL SELECT 'temporary table' FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""


@contextmanager
def running(*, pool_size: int) -> Iterator[Pgbouncer]:
    """One that is stopped in the end; skips the test where there is no program for it."""
    home = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=temporary_directory()))
    home.chmod(0o755)  # root's pgbouncer, which becomes another user, passes through it
    try:
        pooler = Pgbouncer(home, pool_size=pool_size)
    except debian.Unavailable as reason:
        shutil.rmtree(home)
        pytest.skip(f"pgbouncer: {reason}")
    yield pooler
    pooler.stop()
    shutil.rmtree(home)
