"""What came of a verb."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    """What came of a verb, for programs."""

    DONE = "done"
    DOES_NOT_APPLY = "does_not_apply"
    """Nothing was changed: the token is in a state on which this verb does not work."""
    BUSY = "busy"
    """Nothing was changed: the row stayed locked. The same once more may help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of a verb. Equal sentences mean the same of every user: they can be counted."""

    kind: Kind
    sentence: str
    """For the operator: what was done, or why not and what to do. It names no user."""

    @property
    def is_done(self) -> bool:
        """Whether the verb has done what it says."""
        return self.kind is Kind.DONE

    @classmethod
    def done(cls, sentence: str) -> Self:
        """It is done."""
        return cls(kind=Kind.DONE, sentence=sentence)

    @classmethod
    def does_not_apply(cls, why: str) -> Self:
        """It does not work on a token in this state."""
        return cls(kind=Kind.DOES_NOT_APPLY, sentence=why)


NO_TOKEN = Result.does_not_apply("There is no token: this user has never connected Spotify.")
ERASED = Result.does_not_apply("The tokens are erased: only a login of the user brings new ones.")
BUSY = Result(
    kind=Kind.BUSY,
    sentence="The row stayed locked for longer than an exchange can take: try once more.",
)
