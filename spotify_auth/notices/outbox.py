"""Writing a notice along with the change that it is about, and sending its signal afterwards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.dispatch import Signal

from spotify_auth import signals
from spotify_auth.models import SpotifyToken, UserId
from spotify_auth.notices.models import Kind

_SIGNALS: Final[Mapping[Kind, Signal]] = {
    Kind.CONNECTED: signals.token_connected,
    Kind.SUSPECTED: signals.token_suspected,
    Kind.RECONNECT_REQUIRED: signals.reconnect_required,
    Kind.RECOVERED: signals.token_recovered,
    Kind.CLOSED: signals.token_closed,
    Kind.RECONNECT_DUE: signals.reconnect_due,
    Kind.TOKEN_PAUSED: signals.token_paused,
    Kind.TOKEN_RESUMED: signals.token_resumed,
    Kind.SERVICE_PAUSED: signals.service_paused,
    Kind.SERVICE_RESUMED: signals.service_resumed,
}
"""Each kind's signal; a test of a webhook has none."""

INSERT = """
INSERT INTO spotify_auth_notice (kind, at, user_id, once, data)
SELECT %(notice_kind)s, clock_timestamp(), %(notice_user_id)s, %(notice_once)s,
       %(notice_data)s::jsonb
"""
"""SQL that writes a draft's notice, for a statement that may add `FROM` and `WHERE`."""
ONCE = "ON CONFLICT (once) DO NOTHING RETURNING id, at"
"""The end of such a statement."""


class Written(NamedTuple):
    """A notice as it is stored: its id, and when it happened."""

    id: UUID
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A notice that is about to be written.

    `once`, where it is there, names the change: however often it is drafted, it is written and
    sent once. Without, the lock under which the change is made sees to that.
    """

    kind: Kind
    once: str | None = None
    reason: str
    sentence: str
    user_id: UserId | None = None
    further: Mapping[str, Any] = field(default_factory=dict)
    kept_without_user: bool = False
    """Whether it outlives the user, since it is about the user's end."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What receivers are told."""
        about_whom = {} if self.user_id is None else {"user_id": self.user_id}
        return {**about_whom, **self.further, "reason": self.reason, "sentence": self.sentence}

    @property
    def parameters(self) -> dict[str, Any]:
        """For INSERT."""
        return {
            "notice_kind": self.kind,
            "notice_user_id": None if self.kept_without_user else self.user_id,
            "notice_once": self.once,
            "notice_data": json.dumps(self.arguments, cls=DjangoJSONEncoder),
        }


def of_token(
    kind: Kind,
    *,
    user_id: UserId,
    generation: int,
    status: str,
    reason: str,
    sentence: str,
    further: Mapping[str, Any] | None = None,
) -> Draft:
    """A draft about one token."""
    return Draft(
        kind=kind,
        user_id=user_id,
        reason=str(reason),
        sentence=sentence,
        further={"generation": generation, "status": str(status), **(further or {})},
    )


def write(draft: Draft) -> bool:
    """Write a notice, and send its signal once the present transaction is committed.

    False if the change was told of before. Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{INSERT} {ONCE}", draft.parameters)
        row = cursor.fetchone()
    if row is None:
        return False
    announce(draft, Written(*row))
    return True


def announce(draft: Draft, written: Written) -> None:
    """Send the signal of a written notice, once the present transaction is committed."""
    transaction.on_commit(partial(send, draft, written))


def announce_refresh(*, user_id: UserId, generation: int, issued_at: str, reason: str) -> None:
    """Send `token_refreshed`, which has no notice. `issued_at` is as PostgreSQL writes it."""
    if not signals.token_refreshed.has_listeners(SpotifyToken):
        return  # so that a refresh reads no time for nobody
    transaction.on_commit(
        partial(
            signals.token_refreshed.send_robust,
            sender=SpotifyToken,
            user_id=user_id,
            generation=generation,
            at=datetime.fromisoformat(issued_at),
            reason=str(reason),
        )
    )


def send(draft: Draft, written: Written) -> None:
    """Send it now. No receiver's exception comes through."""
    sender = None if draft.user_id is None else SpotifyToken
    arguments = {"notice_id": written.id, "at": written.at, **draft.arguments}
    _SIGNALS[draft.kind].send_robust(sender=sender, **arguments)
