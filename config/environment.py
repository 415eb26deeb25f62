"""Reading the environment so that one start reports everything that is wrong with it."""

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from spotify_auth.hosts import is_loopback

T = TypeVar("T")

_PATHS_OF_THE_SITE = {"account", "api", "connection", "dashboard", "logout", "spotify", "static"}
_WORDS = {"true": True, "1": True, "yes": True, "on": True}
_WORDS |= {"false": False, "0": False, "no": False, "off": False}


def read_env_file() -> None:
    """Read .env, or the file that ENV_FILE names, into the environment; what is there stays."""
    root = Path(__file__).resolve().parent.parent
    environ.Env.read_env(os.environ.get("ENV_FILE", root / ".env"))


class Unshown(str):
    """A text that `celery report`, a debugger and an error report do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


class Environment:
    """Reads settings from the environment and collects every problem on the way.

    A setting without a default, in the call or in `defaults`, is required. A setting that
    is missing or malformed adds one line to `problems` and reads as its default or as a
    harmless placeholder, so that reading goes on; `stop_if_wrong` then ends the process with
    all the lines at once. Values never appear in the lines: they may be secrets.

    Each of `secrets` may also be in a file, as Docker and Kubernetes mount them:
    SECRET_KEY_FILE names the file that holds SECRET_KEY.
    """

    def __init__(self, *, defaults: Mapping[str, Any], secrets: Collection[str] = ()) -> None:
        self._defaults = defaults
        self.secrets = secrets
        self.names: list[str] = []
        self.shown: dict[str, tuple[str, str]] = {}
        """Each setting as it may be shown, and where it is: a variable, a file or the default."""
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """A string that is not empty, unless its default is."""
        return self._read(name, str, default, placeholder="", expected="some text")

    def words(self, name: str, default: str | None = None) -> list[str]:
        """Strings separated by commas or spaces."""
        return self._read(
            name,
            lambda raw: raw.replace(",", " ").split(),
            None if default is None else default.split(),
            placeholder=[],
            expected="words separated by commas or spaces",
        )

    def flag(self, name: str, default: bool | None = None) -> bool:
        """A yes or no; a word that is neither is a problem, not a no."""
        return self._read(
            name,
            lambda raw: _WORDS[raw.lower()],
            default,
            placeholder=False,
            expected="true or false",
        )

    def integer(
        self,
        name: str,
        default: int | None = None,
        minimum: int = 1,
        maximum: int | None = None,
    ) -> int:
        """A whole number of at least `minimum`, and of at most `maximum` if there is one."""
        no_more = "or more" if maximum is None else f"to {maximum}"
        return self._read(
            name,
            lambda raw: _at_most(maximum, _at_least(minimum, int(raw))),
            default,
            placeholder=1,
            expected=f"a whole number, {minimum} {no_more}",
        )

    def seconds(self, name: str, default: float | None = None) -> float:
        """A length of time in seconds, above zero."""
        return self._read(
            name,
            lambda raw: _at_least(0.001, float(raw)),
            default,
            placeholder=1.0,
            expected="a number of seconds above zero",
        )

    def share(self, name: str, default: float | None = None) -> float:
        """A part of a whole, above 0 and up to 1."""
        return self._read(
            name,
            lambda raw: _share(float(raw)),
            default,
            placeholder=1.0,
            expected="a number above 0, up to 1",
        )

    def url(self, name: str, default: str | None = None) -> str:
        """An https address, or http of this machine, exactly as it is written."""
        return self._read(
            name,
            _http_url,
            default,
            placeholder="https://invalid.example",
            expected="an address that begins with https://, or http:// on a loopback address",
        )

    def parsed(
        self,
        name: str,
        parse: Callable[[str], T],
        *,
        placeholder: T,
        expected: str,
        default: T | None = None,
    ) -> T:
        """A setting with a form of its own, required if it has no default.

        `parse` raises ValueError.
        """
        return self._read(name, parse, default, placeholder=placeholder, expected=expected)

    def stop_if_wrong(self) -> None:
        """End the process with one line per problem, if there was any."""
        if self.problems:
            heading = "The settings are not usable (see .env.example):"
            sys.exit("\n".join([heading, *(f"  {line}" for line in self.problems)]))

    def _read(
        self,
        name: str,
        parse: Callable[[str], T],
        default: T | None,
        *,
        placeholder: T,
        expected: str,
    ) -> T:
        self.names.append(name)
        if default is None:
            default = self._defaults.get(name)
        elif name in self._defaults:
            raise ValueError(f"{name} has two defaults")
        otherwise = placeholder if default is None else default
        try:
            source, raw = self._raw(name)
        except _Unreadable as problem:
            self.problems.append(str(problem))
            return otherwise
        self.shown[name] = self._as_shown(name, source, raw, default)
        if not raw:
            if default is None:
                self.problems.append(f"{name} is missing: set it to {expected}.")
            return otherwise
        try:
            return parse(raw)
        except (ValueError, KeyError, ImproperlyConfigured):
            self.problems.append(f"{source} is malformed: set it to {expected}.")
            return otherwise

    def _as_shown(self, name: str, source: str, raw: str, default: object) -> tuple[str, str]:
        """A secret is only said to be set."""
        if raw:
            return (
                "set" if name in self.secrets else raw,
                "variable" if source == name else "file",
            )
        if name in self.secrets or default in (None, "", []):
            return "not set", "default"
        return " ".join(map(str, default)) if isinstance(default, list) else str(default), "default"

    def _raw(self, name: str) -> tuple[str, str]:
        """Which variable gives a setting, and its text; blank if it is not given.

        Raises _Unreadable.
        """
        raw = environ.Env.ENVIRON.get(name, "").strip()
        in_file = f"{name}_FILE"
        path = environ.Env.ENVIRON.get(in_file, "").strip() if name in self.secrets else ""
        if not path:
            return name, raw
        if raw:
            raise _Unreadable(f"{name} and {in_file} are both set: remove one of them.")
        return f"What {in_file} names", _text_of(in_file, Path(path))


class _Unreadable(Exception):
    """A setting's file cannot be used. The message is the line about it, without its content."""


def _text_of(name: str, path: Path) -> str:
    """What the file that the variable `name` gives holds, without white space around it."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _Unreadable(f"{name} names {path}, which cannot be read: {error.strerror}.") from None
    except ValueError:  # not UTF-8, or no path at all
        raise _Unreadable(f"{name} names {path!r}, which is no file of text.") from None
    if not text:
        raise _Unreadable(f"{name} names {path}, which is empty.")
    return text


def admin_path(raw: str) -> str:
    """The admin's path below the site's address, as Django's `path` wants it.

    Raises ValueError for one that is none, or that would hide pages of the site.
    """
    if not re.fullmatch(r"([A-Za-z0-9_-]+/)+", raw) or raw.split("/")[0] in _PATHS_OF_THE_SITE:
        raise ValueError("not a path for the admin")
    return raw


def email_config(raw: str) -> dict[str, Any]:
    """Django's EMAIL_… settings for an address such as smtp+tls://user:password@host:587.

    Raises ValueError for what is none.
    """
    if urlsplit(raw).scheme not in environ.Env.EMAIL_SCHEMES:
        raise ValueError(raw)
    config: dict[str, Any] = environ.Env.email_url_config(raw)
    return config


def secret_key(raw: str) -> str:
    """A key that `manage.py check --deploy` accepts too. Raises ValueError for a weak one."""
    if len(raw) < 50 or len(set(raw)) < 5 or raw.startswith("django-insecure-"):
        raise ValueError("too easy to guess")
    return raw


def postgresql_config(raw: str) -> dict[str, Any]:
    """Django's DATABASES entry for a postgres:// address.

    Raises ValueError for any other database: the row lock is the product.
    """
    if urlsplit(raw).scheme not in {"postgres", "postgresql"}:
        raise ValueError("not PostgreSQL")
    config: dict[str, Any] = environ.Env.db_url_config(raw)
    if not config.get("NAME"):
        raise ValueError("no database named")
    return config


def _at_least(minimum: float, value: Any) -> Any:
    # `not >=` also refuses NaN, which compares false with everything.
    if not value >= minimum or value == float("inf"):
        raise ValueError("out of range")
    return value


def _at_most(maximum: int | None, value: int) -> int:
    if maximum is not None and value > maximum:
        raise ValueError("out of range")
    return value


def _http_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("not an http address")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("tokens would travel in the clear")
    return raw


def _share(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError("out of range")
    return value
