"""spotipy's cache files, `.cache-<username>`: one for each user.

A file cannot be erased in PostgreSQL's transaction. So it is renamed first, to a name that spotipy
does not know and that has the time in it; then the tokens are stored; then it is deleted. After
a kill in between the next import finds the renamed file, and PostgreSQL knows whether its user's
tokens have arrived since. The name is signed, since a username could look like one, and bring its
user's tokens to another user.
"""

import errno
import fcntl
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from django.contrib.auth import get_user_model
from django.utils.crypto import constant_time_compare, salted_hmac

from spotify_auth.connections import database_now
from spotify_auth.importing import spotipy_info
from spotify_auth.importing.candidates import Candidate, Emptied, Found, Problem, Unusable
from spotify_auth.importing.source import Choices, Copy, Refused, Users, require_our_client
from spotify_auth.models import Outcome, TokenEvent, UserId
from spotify_auth.text import one_line

AT_ONCE = 500
LARGEST = 65_536
"""Bytes."""
_ASIDE = re.compile(r"\.importing-(\d{8}T\d{12}Z)-([0-9a-f]{32})\Z")
_TIME = "%Y%m%dT%H%M%S%fZ"


class _File:
    """A file that was put aside, and is locked."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.erased = False

    def erase(self) -> None:
        self.erased = True


class SpotipyCacheSource:
    """The files of a directory whose names match a pattern."""

    name = "spotipy-cache"
    erases_older_copies = False

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._users: Users
        self._directory = choices.path or Path()

    def open(self) -> None:
        require_our_client(self._choices.client_id, where="a cache file of spotipy's")
        field = self._choices.user_field or str(get_user_model().USERNAME_FIELD)
        self._users = Users(field)
        before, user, after = self._choices.pattern.partition("{user}")
        if not user or "/" in self._choices.pattern:
            raise Refused('--pattern is a file name with {user} in it, such as ".cache-{user}".')
        self._name = re.compile(f"{re.escape(before)}(.+){re.escape(after)}", re.DOTALL)
        if not self._directory.is_dir():
            raise Refused("--directory is no directory.")

    def total(self) -> int | None:
        return len(self._paths())

    def found(self) -> Iterator[Found]:
        paths = self._paths()
        for begin in range(0, len(paths), AT_ONCE):
            some = [(path, self._user_of(path)) for path in paths[begin : begin + AT_ONCE]]
            users = self._users.find([user for _, user in some])
            for path, user in some:
                yield self._found(path, users[user])

    @contextmanager
    def held(self, candidate: Candidate) -> Iterator[Copy | None]:
        path: Path = candidate.key
        original = _original(path)
        aside = path
        if path == original:
            aside = aside_of(path, database_now())
        try:
            file = _opened(path)
        except FileNotFoundError:
            yield None  # another import has moved it
            return
        except OSError as error:
            raise Unusable(f"it cannot be read: {error.strerror}") from None
        with file:
            if not _locked(file, path):
                yield None  # another import is at it, or has moved it
                return
            if path != original and _arrived_since(path, candidate.user_id):
                path.unlink()  # an import was killed when it was about to do so
                yield None
                return
            try:
                path.rename(aside)
            except OSError as error:
                raise Unusable(f"it cannot be renamed: {error.strerror}") from None
            _write_through(aside.parent)
            copy = None
            try:
                copy = _File(self._read(aside, file.read(LARGEST + 1), candidate.user_id))
                yield copy
            finally:
                # After an error PostgreSQL may have committed or not: the next import asks it.
                in_doubt = copy and copy.erased and sys.exception()
                if copy and copy.erased and not in_doubt:
                    aside.unlink()
                elif not in_doubt and not original.exists():
                    aside.rename(original)
                _write_through(aside.parent)

    def _paths(self) -> list[Path]:
        """The files, newest first: those of an import that was killed are among them."""
        named = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                path = Path(entry.path)
                with suppress(FileNotFoundError):  # another import has moved it
                    if self._name.fullmatch(_original(path).name):
                        named.append((entry.stat(follow_symlinks=False).st_mtime, path))
        return [path for _, path in sorted(named, reverse=True)]

    def _user_of(self, path: Path) -> str:
        found = self._name.fullmatch(_original(path).name)
        assert found  # noqa: S101  (`_paths` has looked)
        return found[1].encode("utf-8", "replace").decode()

    def _found(self, path: Path, user_id: UserId | Unusable) -> Found:
        try:
            if isinstance(user_id, Unusable):
                raise user_id
            with _opened(path) as file:
                return self._read(path, file.read(LARGEST + 1), user_id)
        except FileNotFoundError:
            return Emptied()
        except OSError as error:
            return Problem(place=_place(path), reason=f"it cannot be read: {error.strerror}")
        except Unusable as reason:
            return Problem(place=_place(path), reason=str(reason))

    def _read(self, path: Path, content: bytes, user_id: UserId) -> Candidate:
        if len(content) > LARGEST:
            raise Unusable(f"it is larger than {LARGEST} bytes")
        try:
            info = json.loads(content)
        except (ValueError, RecursionError):
            raise Unusable("it is no JSON") from None
        return spotipy_info.candidate(info, place=_place(path), key=path, user_id=user_id)


def _arrived_since(path: Path, user_id: UserId) -> bool:
    """Whether the user's tokens were stored since a file was put aside."""
    aside = _ASIDE.search(path.name)
    assert aside  # noqa: S101  (the caller has looked)
    since = datetime.strptime(aside[1], _TIME).replace(tzinfo=UTC)
    events = TokenEvent.objects.filter(user_id=user_id, outcome=Outcome.CONNECTED, at__gte=since)
    return events.exists()


def _locked(file: BinaryIO, path: Path) -> bool:
    """Lock a file for as long as it is open, and so no longer than this process lives.

    False if another process has it, or has renamed it since it was opened.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False


def aside_of(path: Path, moment: datetime) -> Path:
    """What a file is called while its tokens are being stored."""
    since = f"{moment.astimezone(UTC):{_TIME}}"
    return path.with_name(f"{path.name}.importing-{since}-{_signature(path.name, since)}")


def _original(path: Path) -> Path:
    """What a file was called before it was put aside, if it was."""
    aside = _ASIDE.search(path.name)
    name = path.name[: aside.start()] if aside else path.name
    if aside and constant_time_compare(aside[2], _signature(name, aside[1])):
        return path.with_name(name)
    return path


def _signature(name: str, since: str) -> str:
    value = os.fsencode(f"{since} {name}")
    return salted_hmac(__name__, value, algorithm="sha256").hexdigest()[:32]


def _opened(path: Path) -> BinaryIO:
    """A file, opened to be read. Raises Unusable for what is none, such as a link, and OSError."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unusable("it is no plain file") from None
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unusable("it is no plain file")
    return file


def _place(path: Path) -> str:
    return one_line(_original(path).name)


def _write_through(directory: Path) -> None:
    """Let a new name outlive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
