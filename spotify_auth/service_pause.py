"""The pause of all refreshing that an operator has ordered: whether there is one, and why.

It is a row in PostgreSQL, which every claim looks for in its own statement: from the commit on no
lane of any worker takes a token. Exchanges in hand finish and commit. Logins go on, since a user
at Spotify's page cannot wait. `verbs` begins it and ends it.

The cool-down (`cooldown`) is another pause: the service orders that one by itself, and it ends by
itself.
"""

from dataclasses import dataclass
from datetime import datetime

from spotify_auth.models import ServicePause

NOT_PAUSED = "NOT EXISTS (SELECT FROM spotify_auth_servicepause WHERE ended_at IS NULL)"
"""A condition for statements in SQL. PostgreSQL looks once for the statement, not for each row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """All refreshing is paused."""

    since: datetime
    """In UTC, by PostgreSQL's clock."""
    by: str
    """Who ordered it: an administrator's name, or the name that the command line gave."""
    reason: str
    """In their words."""


def current() -> Paused | None:
    """The pause that is on now; None if refreshing goes on. Raises django.db.Error."""
    row = ServicePause.objects.filter(ended_at=None).values("since", "by", "reason").first()
    return Paused(**row) if row else None
