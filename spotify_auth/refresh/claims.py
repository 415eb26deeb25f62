"""Taking the most urgent due token, and with it its row lock.

The claim is one SQL statement, since its cost bounds how many tokens a machine can keep
(docs/decisions.md). It must run inside a transaction, of which it is the first statement:
the lock lasts until that ends.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from spotify_auth.conf import settings
from spotify_auth.refresh.transaction import execute_first, sent
from spotify_auth.schedule import STATEMENT_SECONDS, longest_exchange

ANEW_SECONDS = 1.0
"""How often a claim of this process begins at the very left of the due index."""

# Both in one round trip. The bounds end with the transaction, and so do no harm behind a
# pooler. The last ends the lock of a worker that hangs in its exchange.
_CLAIM = """
SELECT set_config('lock_timeout', %(statement)s, true),
       set_config('statement_timeout', %(statement)s, true),
       set_config('idle_in_transaction_session_timeout', %(exchange)s, true);
SELECT user_id, generation, refresh_token, due_cause,
       -- A worker of the version before 0002 leaves an old name beside its "schedule".
       CASE WHEN due_cause = 'schedule' THEN '' ELSE asked_by END,
       failures, suspected_at IS NOT NULL,
       extract(epoch FROM expires_at - refreshed_at)::float,
       extract(epoch FROM now() - refreshed_at)::float,
       now()::text, reauthorize_by <= now(),
       due_at::text AS due -- else ORDER BY would sort by the text
FROM spotify_auth_spotifytoken
WHERE status = 'active' AND due_at <= now() {and_only}
ORDER BY due_at
LIMIT 1
FOR UPDATE SKIP LOCKED
"""
_NEXT = _CLAIM.format(and_only="")
_NEXT_FROM = _CLAIM.format(and_only="AND due_at >= %(due_from)s::timestamptz")
_OF_USER = _CLAIM.format(and_only="AND user_id = %(user_id)s")
# A token that Spotify refused once would tell nothing about an outage.
_FOR_PROBE = _CLAIM.format(and_only="AND suspected_at IS NULL")


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A due token whose row is locked by the present transaction. Times in seconds.

    Moments are text, as PostgreSQL writes them: nobody but PostgreSQL reads them again, and
    to make datetimes of them and back took 70 µs of each refresh (docs/decisions.md).
    """

    user_id: int
    generation: int
    refresh_token: bytes = field(repr=False)
    cause: str
    asked_by: str
    failures: int
    suspected: bool
    lifetime: float
    lifetime_used: float
    claimed_at: str
    """When the claim reached PostgreSQL: from here a grant's lifetime is counted."""
    six_months_over: bool
    due_at: str


@dataclass(slots=True)
class _Start:
    """Where in the due index the claims of this process begin, and until when they may."""

    due_at: str | None = None
    until: float = 0.0
    """By this process's monotonic clock."""


_start = _Start()


def claim_next() -> Claim | None:
    """The most urgent due token that nobody else holds, if there is one.

    While any transaction is open, say that of an exchange that hangs, nothing refreshed
    since it began is dead for PostgreSQL, and a claim from the very left looks at all of it
    in the table. So claims begin where the last one of this process found its token, and
    once a second at the very left, for what stands there again: nudged, or given back.
    """
    sql, parameters = next_statement()
    ahead = sent()
    if ahead in {_NEXT, _NEXT_FROM}:
        # By now another thread may have moved the start; what was found is still good.
        sql = ahead
    claim = _claim(sql, parameters)
    if claim is None and sql == _NEXT_FROM:
        sql = _NEXT
        claim = _claim(sql, parameters)
    if claim is not None:
        _start.due_at = claim.due_at
        if sql == _NEXT:
            _start.until = time.monotonic() + ANEW_SECONDS
    return claim


def next_statement() -> tuple[str, dict[str, Any]]:
    """What `claim_next` would send now, and its parameters."""
    anew = _start.due_at is None or time.monotonic() >= _start.until
    return _NEXT if anew else _NEXT_FROM, {**_bounds(), "due_from": _start.due_at}


def claim_of_user(user_id: int) -> Claim | None:
    """One user's token, if it is due and nobody else holds it."""
    return _claim(_OF_USER, {**_bounds(), "user_id": user_id})


def claim_for_probe() -> Claim | None:
    """The token that tells most about whether Spotify is well again."""
    return _claim(_FOR_PROBE, _bounds()) or claim_next()


def _bounds() -> dict[str, Any]:
    exchange = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
    return {"statement": f"{STATEMENT_SECONDS}s", "exchange": f"{exchange}s"}


def _claim(sql: str, parameters: dict[str, Any]) -> Claim | None:
    row = execute_first(sql, parameters)
    if row is None:
        return None
    user_id, generation, refresh_token, cause, asked_by, failures, suspected = row[:7]
    lifetime, used, claimed_at, six_months_over, due_at = row[7:]
    return Claim(
        user_id=user_id,
        generation=generation,
        refresh_token=bytes(refresh_token),
        cause=cause,
        asked_by=asked_by,
        failures=failures,
        suspected=suspected,
        lifetime=lifetime,
        lifetime_used=used,
        claimed_at=claimed_at,
        six_months_over=six_months_over,
        due_at=due_at,
    )
