"""Programs that only Debian packages have: fetched and unpacked here, and never installed.

apt-get checks the archive's signature and the hash of each package, as it does for root. It
works for every user, in directories of our own.
"""

import fcntl
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.postgres import can_enter
from dev.process import LOCAL, OUTSIDE, make_directory, make_local, run_step

# A user's PATH often lacks the last two.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_SECONDS = 300


class Unavailable(Exception):
    """The program is not to be had on this machine. The message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and what its environment must have."""

    path: Path
    env: Mapping[str, str] = field(default_factory=dict)


def find_or_fetch(name: str, *, package: str) -> Program:
    """The program of this name, from PATH or from Debian's package of this name.

    The first call fetches it, which takes some seconds. Every user can run it, also PostgreSQL's.
    Raises Unavailable.
    """
    if found := shutil.which(name, path=_PATH):
        return Program(Path(found))
    home = _home() / package
    make_directory(home, owner=os.geteuid(), mode=0o755)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process of pytest-xdist fetches, the others wait
        root = home / "root"
        if not root.exists():
            _fetch(package, home, root)
    return _unpacked(name, package, root)


def _home() -> Path:
    """LOCAL, or a directory in /var/tmp where another user could not enter root's clone."""
    make_local()
    if can_enter(LOCAL):
        home = LOCAL / "debian"
        home.mkdir(exist_ok=True)
        return home
    make_directory(OUTSIDE, owner=os.geteuid(), mode=0o711)
    home = OUTSIDE / "debian"
    make_directory(home, owner=os.geteuid(), mode=0o755)
    return home


def _fetch(package: str, home: Path, root: Path) -> None:
    """Unpack a package, and those that it needs and this machine lacks, into `root`."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Unavailable(f"it is not on PATH, and only Debian's apt-get can fetch `{package}`")
    unfinished = home / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    for directory in ("lists/partial", "archives/partial", "root"):
        (unfinished / directory).mkdir(parents=True)
    apt = [
        *("apt-get", "--quiet", "--yes", "-o", f"Dir::State={unfinished}"),
        *("-o", f"Dir::State::Lists={unfinished}/lists", "-o", f"Dir::Cache={unfinished}"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=true"),
        *("-o", f"APT::Sandbox::User={pwd.getpwuid(os.geteuid()).pw_name}"),
    ]
    fetch = ["install", "--reinstall", "--download-only", "--no-install-recommends", package]
    for command in (["update"], fetch):
        _run([*apt, *command], log=home / "log", package=package)
    for archive in sorted((unfinished / "archives").glob("*.deb")):
        _run(
            ["dpkg-deb", "--extract", str(archive), str(unfinished / "root")],
            log=home / "log",
            package=package,
        )
    (unfinished / "root").rename(root)
    shutil.rmtree(unfinished)


def _run(command: list[str], *, log: Path, package: str) -> None:
    with log.open("ab") as output:
        try:
            ended = run_step(
                ["timeout", str(_SECONDS), *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o022,
            )
        except OSError as error:
            raise Unavailable(f"{command[0]} cannot be run: {error.strerror}") from None
    if ended.returncode:
        raise Unavailable(
            f"it is not on PATH, and fetching Debian's `{package}` failed (log: {log})"
        )


def _unpacked(name: str, package: str, root: Path) -> Program:
    for directory in ("usr/bin", "usr/sbin", "bin", "sbin", f"usr/lib/{package}"):
        path = root / directory / name
        if path.exists():
            libraries = sorted({str(each.parent) for each in root.rglob("lib*.so*")})
            return Program(path, {"LD_LIBRARY_PATH": os.pathsep.join(libraries)})
    raise Unavailable(f"Debian's `{package}` has no {name}")
