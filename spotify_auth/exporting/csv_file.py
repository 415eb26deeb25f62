"""A CSV file as a destination: the columns are those that an import reads.

A file is not in PostgreSQL's transaction. So lines are written, and durable, before the tokens are
erased here. After a kill in between a line may be there whose token is still kept: the next export
into the same file takes such lines out first, and writes them anew.
"""

import csv
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError

from spotify_auth.exporting.destination import Kept
from spotify_auth.importing.csv_file import COLUMNS
from spotify_auth.importing.source import Refused
from spotify_auth.models import SpotifyToken, UserId

MODE = 0o600
AT_ONCE = 500
_HEADER = (",".join(COLUMNS) + "\n").encode()


class CsvDestination:
    """A file that only its owner can read."""

    name = "csv"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO

    def open(self) -> None:
        """A rehearsal makes no file."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        try:
            with self._own_file() as file, self._continued(file) as self._file:
                yield
        except OSError as error:
            raise Refused(f"--file cannot be written: {error.strerror}.") from None

    def check(self, user_id: UserId, account_id: str | None) -> None:
        """A file has a place for everybody."""

    def put(self, kept: Kept) -> None:
        line = StringIO()
        csv.writer(line, lineterminator="\n").writerow(
            (
                kept.user_id,
                kept.access_token,
                kept.refresh_token,
                kept.expires_at.isoformat(),
                kept.scope,
                kept.authorized_at.isoformat() if kept.authorized_at else "",
                kept.account_id or "",
            )
        )
        self._file.write(line.getvalue().encode())

    def settle(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    @contextmanager
    def _own_file(self) -> Iterator[BinaryIO]:
        """The file that was named, opened, locked, and nobody else's. Raises Refused, OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
        with os.fdopen(os.open(self._path, flags, MODE), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Refused("--file is no plain file: tokens are written into nothing else.")
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise Refused(
                    "--file is there, and others than you can read it. Name a new file, or make "
                    "it yours alone: chmod 600."
                )
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused("--file is written by another export.") from None
            # Another export may have put a new file in its place before it was locked.
            if not os.path.samestat(found, os.lstat(self._path)):
                raise Refused("--file is written by another export.")
            if found.st_size and file.readline(len(_HEADER) + 1) != _HEADER:
                raise Refused("--file is there, and was written by no export. Name another.")
            yield file

    @contextmanager
    def _continued(self, before: BinaryIO) -> Iterator[BinaryIO]:
        """A file in its place, with the lines of it whose tokens are kept here no longer."""
        aside = self._path.with_name(f"{self._path.name}.new")
        aside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(aside, flags, MODE), "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                file.write(_HEADER)
                whole = (line for line in before if line.endswith(b"\n"))
                while lines := list(islice(whole, AT_ONCE)):
                    file.writelines(_handed_over(lines))
                file.flush()
                os.fsync(file.fileno())
                aside.rename(self._path)
            except BaseException:
                aside.unlink(missing_ok=True)  # it has tokens
                raise
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            yield file


def _handed_over(lines: list[bytes]) -> list[bytes]:
    """Those of these lines whose user's tokens are not kept here. Raises Refused."""
    key: Any = SpotifyToken._meta.pk
    try:
        users = [key.to_python(line.partition(b",")[0].decode()) for line in lines]
    except (ValueError, ValidationError):
        raise Refused("--file is there, and is damaged. Name another.") from None
    kept = SpotifyToken.objects.filter(pk__in=users, access_token__isnull=False)
    still = set(kept.values_list("pk", flat=True))
    return [line for line, user in zip(lines, users, strict=True) if user not in still]
