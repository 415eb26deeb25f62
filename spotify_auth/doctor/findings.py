"""What a check finds, and how a check is described."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LONGEST_SECONDS = 10.0
"""How long a check may take that names no other time."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Users are served; an operator should look at it."""
    PROBLEM = "problem"
    """Users are not served, or will not be when something else happens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the doctor's."""

    level: Level
    found: str
    advice: str = ""
    """What to do; blank if all is well."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the line rests on, shown below it."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Facts that only `--verbosity 2` and `--json` show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check: its name, and the function that looks."""

    name: str
    look: Callable[[], Iterable[Finding]]
    """May raise anything: that is a problem of this check alone."""
    asks: str = ""
    """Which server it waits for, for the sentence about a check that never came back."""
    asks_spotify: bool = False
    seconds: float = LONGEST_SECONDS


def ok(found: str, **facts: str) -> Finding:
    """All is well."""
    return Finding(level=Level.OK, found=found, facts=facts)


def warning(found: str, advice: str) -> Finding:
    """An operator should look at it."""
    return Finding(level=Level.WARNING, found=found, advice=advice)


def problem(found: str, advice: str) -> Finding:
    """Something is broken, or will be."""
    return Finding(level=Level.PROBLEM, found=found, advice=advice)
