"""What an import came across, counted and named; never a token."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spotify_auth.importing.candidates import Candidate, Kind, Problem
from spotify_auth.importing.moving import End

NAMED = 1000
"""How many problems the report as JSON names one by one. In words each is a line at once."""


@dataclass(slots=True)
class Report:
    """Counts, and what was not moved. In a rehearsal `moved` is what would be."""

    source: str
    applied: bool
    say: Callable[[str], None]
    """Takes a line for the operator."""
    found: int = 0
    moved: int = 0
    kept: int = 0
    emptied: int = 0
    bad: int = 0
    older_accounts: int = 0
    busy: int = 0
    expired: int = 0
    expiry_unknown: int = 0
    approval_unknown: int = 0
    scope_unknown: int = 0
    refreshed: int = 0
    """Of the canary."""
    ended: str = "done"
    problems: list[Problem] = field(default_factory=list)

    def saw(self, candidate: Candidate, *, is_expired: bool) -> None:
        """One that is moved, or would be."""
        self.moved += 1
        self.expired += is_expired
        self.expiry_unknown += candidate.expires_at is None
        self.approval_unknown += candidate.authorized_at is None
        self.scope_unknown += not candidate.scope

    def count(self, end: End, candidate: Candidate, reason: str = "") -> None:
        """One that is not moved."""
        if end is End.KEPT:
            self.kept += 1
        elif end is End.GONE:
            self.emptied += 1
        elif end is End.BUSY:
            self.busy += 1
            self._name(Problem(place=candidate.place, reason=reason, user_id=candidate.user_id))
        elif end is End.BAD:
            self.add(Problem(place=candidate.place, reason=reason, user_id=candidate.user_id))

    def add(self, problem: Problem) -> None:
        """Something that cannot be moved."""
        if problem.kind is Kind.OLDER_ACCOUNT:
            self.older_accounts += 1
        else:
            self.bad += 1
        self._name(problem)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left that should be looked at."""
        return self.ended == "done" and not (self.bad or self.busy)

    def lines(self) -> list[str]:
        """The counts in words."""
        what = "moved" if self.applied else "would be moved"
        rows = [
            (self.found, "found"),
            (self.moved, what),
            (self.kept, "stay: what is stored here is as new, or newer"),
            (
                self.emptied,
                "have no refresh token there: moved before, or logged in since, or gone",
            ),
            (self.older_accounts, "belong to an older Spotify account of a user: not moved"),
            (self.bad, "cannot be moved"),
            (self.busy, "were locked: run the same command again"),
        ]
        said = [f"  {number:>8}  {words}" for number, words in rows if number or words == what]
        if self.expired:
            said.append(
                f"Of them {self.expired} access tokens have expired: they are refreshed over the "
                "spread, or when their users come."
            )
        if self.scope_unknown:
            said.append(
                f"Of {self.scope_unknown} the scopes are not known: until their first refresh "
                "brings them, pages that want scopes refuse."
            )
        if self.approval_unknown:
            said.append(
                f"Of {self.approval_unknown} it is not known when their users approved: their six "
                "months end some time within the next six, and nobody is asked to reconnect "
                "by a date before that is known."
            )
        return said

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        names = (
            *("applied", "ended", "found", "moved", "kept", "emptied", "older_accounts", "bad"),
            *("busy", "expired", "expiry_unknown", "approval_unknown", "scope_unknown"),
            "refreshed",
        )
        return {
            "source": self.source,
            **{name: getattr(self, name) for name in names},
            "problems": [
                {"place": each.place, "user_id": each.user_id, "reason": each.reason}
                for each in self.problems
            ],
            "problems_not_named": self.bad + self.older_accounts + self.busy - len(self.problems),
        }

    def _name(self, problem: Problem) -> None:
        whose = f" (user {problem.user_id})" if problem.user_id is not None else ""
        self.say(f"  {problem.place}{whose}: {problem.reason}")
        if len(self.problems) < NAMED:
            self.problems.append(problem)
