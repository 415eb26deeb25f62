"""A CSV file, as a table of a project's own can be written: one line for each user.

A line is read, and forgotten, before the next one: the size of the file does not matter.
"""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import BinaryIO

from spotify_auth.importing import candidates
from spotify_auth.importing.candidates import Candidate, Found, Problem, Unusable
from spotify_auth.importing.source import Choices, Copy, Refused, Users, require_our_client

REQUIRED = ("user", "access_token", "refresh_token")
OPTIONAL = ("expires_at", "scope", "authorized_at", "account_id")
COLUMNS = (*REQUIRED, *OPTIONAL)
AT_ONCE = 500
"""Lines whose users are looked up at a time."""
LONGEST_LINE = 32_768
"""Bytes."""
LONGEST_ACCOUNT_ID = 255


@dataclass(frozen=True, slots=True)
class _Line:
    candidate: Candidate

    def erase(self) -> None:
        """Nothing here can: whoever wrote the file erases the tokens in the table it is from."""


class CsvSource:
    """Lines of a file, or of the standard input."""

    name = "csv"
    erases_older_copies = False

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._users: Users

    def open(self) -> None:
        require_our_client(self._choices.client_id, where="a CSV file")
        self._users = Users(self._choices.user_field or "pk")
        path = self._choices.path
        if path is not None and path.exists() and not path.is_file():
            raise Refused("--file is no plain file. What comes through a pipe is read with -.")
        if path is not None:
            with self._lines() as lines:
                self._columns = _columns(lines)

    def total(self) -> int | None:
        if self._choices.path is None:
            return None  # what comes through a pipe comes once
        with self._lines() as lines:
            ends = sum(piece.count(b"\n") for piece in iter(lambda: lines.read(1 << 20), b""))
        return max(ends - 1, 0)

    def found(self) -> Iterator[Found]:
        with self._lines() as lines:
            self._columns = _columns(lines)
            numbered = zip(count(2), _each(lines), strict=False)
            while some := list(islice(numbered, AT_ONCE)):
                yield from self._some([(f"line {n}", self._read(line)) for n, line in some])

    def _some(self, read: list[tuple[str, dict[str, str] | Unusable]]) -> Iterator[Found]:
        users = self._users.find([row["user"] for _, row in read if isinstance(row, dict) and row])
        for place, row in read:
            try:
                if isinstance(row, Unusable):
                    raise row
                if row:
                    yield _candidate(place, row, users[row["user"]])
            except Unusable as reason:
                yield Problem(place=place, reason=str(reason))

    @contextmanager
    def held(self, candidate: Candidate) -> Iterator[Copy | None]:
        yield _Line(candidate)

    @contextmanager
    def _lines(self) -> Iterator[BinaryIO]:
        if self._choices.path is None:
            yield sys.stdin.buffer
            return
        try:
            file = self._choices.path.open("rb")
        except OSError as error:
            raise Refused(f"--file cannot be read: {error.strerror}.") from None
        with file:
            yield file

    def _read(self, line: bytes | None) -> dict[str, str] | Unusable:
        """The values of a line, by their columns; {} for a blank line."""
        if line is None:
            return Unusable(f"the line is longer than {LONGEST_LINE} bytes")
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return Unusable("the line is no UTF-8")
        if "\0" in text:
            return Unusable("the line has a NUL byte")
        if not text.strip():
            return {}
        try:
            (values,) = csv.reader([text], strict=True)
        except (csv.Error, ValueError):
            return Unusable("the line is no CSV: a value ends within the line that it begins in")
        if len(values) != len(self._columns):
            return Unusable(f"{len(values)} values for {len(self._columns)} columns")
        return dict(zip(self._columns, values, strict=True))


def _columns(lines: BinaryIO) -> list[str]:
    """What the first line names. Raises Refused."""
    try:
        (columns,) = csv.reader([lines.readline(LONGEST_LINE).decode("utf-8-sig")], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        columns = []
    # What else the first line has may be a token: it is not shown.
    if not set(REQUIRED) <= set(columns):
        raise Refused(
            f"The first line must name the columns {', '.join(REQUIRED)}, as they are written "
            "here, in UTF-8 and with commas between them."
        )
    if len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
        raise Refused(
            "The first line names a column twice, or one that is not known. Known are "
            f"{', '.join(COLUMNS)}."
        )
    return columns


def _each(lines: BinaryIO) -> Iterator[bytes | None]:
    """Each further line; None for one that is too long, which is skipped."""
    while line := lines.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while rest := lines.readline(LONGEST_LINE):
            if rest.endswith(b"\n"):
                break
        yield None


def _candidate(place: str, row: dict[str, str], user_id: object) -> Candidate:
    if isinstance(user_id, Unusable):
        raise user_id
    account_id = row.get("account_id", "")
    if not account_id.isprintable() or len(account_id) > LONGEST_ACCOUNT_ID:
        raise Unusable("account_id is no Spotify account ID")
    return Candidate(
        place=place,
        key=place,
        user_id=user_id,  # type: ignore[arg-type]
        refresh_token=candidates.token("refresh token", row["refresh_token"]),
        access_token=candidates.token("access token", row["access_token"]),
        expires_at=candidates.expiry(row.get("expires_at")),
        scope=candidates.scope(row.get("scope")),
        authorized_at=candidates.moment("authorized_at", row.get("authorized_at")),
        account_id=account_id or None,
    )
