"""Who acts, as the history and the admin's record name them."""

from dataclasses import dataclass
from typing import Self, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from spotify_auth.models import UserId
from spotify_auth.text import one_line

LONGEST_REASON = 200
"""Characters of a reason that the history keeps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """Who acts. Make one by `of` or `named`."""

    name: str
    """One visible line of at most 100 characters, never blank."""
    user_id: UserId | None = None
    """The administrator's primary key; None on the command line, which knows a name only."""

    @classmethod
    def of(cls, administrator: AbstractBaseUser | AnonymousUser) -> Self:
        """An administrator of the site, as a request has it (the admin lets in who is logged in).

        Their name is "user 5" where the user model allows no name.
        """
        name: str | None = administrator.get_username()
        return cls(
            name=one_line(name or "")[:100] or f"user {administrator.pk}",
            user_id=cast(UserId, administrator.pk),
        )

    @classmethod
    def named(cls, name: str) -> Self:
        """Somebody at the command line, by the name that they or their system give.

        Raises ValueError if the name has no visible character.
        """
        visible = one_line(name)[:100]
        if not visible:
            raise ValueError("an operator must have a name")
        return cls(name=visible)

    def note(self, what: str, *, about: Model | None, called: str = "") -> None:
        """Write a LogEntry if this is an administrator of the site; the caller's transaction.

        `about` is the object, if there is one, or else `called` is what the record calls it.
        """
        if self.user_id is None:
            return
        # Here, since a project may have the command line and no admin.
        from django.contrib.admin.models import CHANGE, LogEntry

        LogEntry.objects.create(
            user_id=self.user_id,
            content_type=None if about is None else ContentType.objects.get_for_model(about),
            object_id=None if about is None else str(about.pk),
            object_repr=(called if about is None else str(about))[:200],
            action_flag=CHANGE,
            change_message=what,
        )


def reason_of(text: str) -> str:
    """A reason as the history keeps it: one visible line. Raises ValueError if it is blank."""
    reason = one_line(text)[:LONGEST_REASON]
    if not reason:
        raise ValueError("a reason must be given: the history keeps it")
    return reason
