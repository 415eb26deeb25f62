"""Taking the most urgent due token, and with it its row lock.

The claim is one SQL statement, since its cost bounds how many tokens a machine can keep
(docs/explanation/decisions.md). The lock lasts until the transaction ends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model

from spotify_auth import service_pause
from spotify_auth.conf import settings
from spotify_auth.models import Cause, SpotifyToken, UserId
from spotify_auth.refresh.plans import KeptStatement, kept
from spotify_auth.refresh.process import process
from spotify_auth.refresh.transaction import ClaimTransaction
from spotify_auth.schedule import STATEMENT_SECONDS, longest_exchange

# In the claim's message. They end with the transaction, so they do no harm behind a pooler. The
# second ends the lock of a worker that hangs in its exchange. In milliseconds.
_BOUNDS = (
    "SET LOCAL statement_timeout = {statement:.0f}; "
    "SET LOCAL idle_in_transaction_session_timeout = {exchange:.0f}; "
)
_CLAIM = """
SELECT user_id, generation, refresh_token, due_cause,
       -- A worker of the version before 0002 leaves an old name beside its "schedule".
       CASE WHEN due_cause = 'schedule' THEN '' ELSE asked_by END,
       failures, extract(epoch FROM now() - suspected_at)::float, status, appeals, last_error,
       extract(epoch FROM expires_at - refreshed_at)::float,
       extract(epoch FROM now() - refreshed_at)::float,
       now()::text, reauthorize_by <= now(), {deactivated},
       extract(epoch FROM now() - due_at)::float,
       due_at::text AS due -- ORDER BY must not sort by the text
FROM spotify_auth_spotifytoken
WHERE status = 'active' AND due_at <= now() AND {not_paused} {and_only}
ORDER BY due_at
LIMIT 1
FOR UPDATE SKIP LOCKED
"""
# Of the user's own row, and not by a trigger on it or a mark on the token: whichever way a user
# is deactivated, among thousands too, it holds from the next claim on.
_DEACTIVATED = "NOT (SELECT {flag} FROM {table} AS owner WHERE owner.{key} = user_id)"


def _sql(and_only: str = "") -> str:
    return _CLAIM.format(
        and_only=and_only, deactivated=_deactivated(), not_paused=service_pause.NOT_PAUSED
    )


def _deactivated() -> str:
    """SQL for whether a token's user is deactivated, if the user model has a column for that."""
    user = get_user_model()._meta
    columns = [
        field.column for field in user.concrete_fields if field.name == "is_active" and field.column
    ]
    if not columns:
        return "false"  # AbstractBaseUser alone has none
    return _DEACTIVATED.format(
        flag=_quoted(columns[0]), table=_quoted(user.db_table), key=_quoted(str(user.pk.column))
    )


def _quoted(name: str) -> str:
    """As PostgreSQL wants it. Django's own `quote_name` wants a connection, which a project that
    is only checked may lack."""
    return '"{}"'.format(name.replace('"', '""'))


FROM_START = _sql()
FROM_CURSOR = _sql("AND due_at >= %(due_from)s::timestamptz")
# Nearly all claims of a service with much to do.
KEPT_FROM_CURSOR = KeptStatement(
    purpose="claim",
    text=FROM_CURSOR,
    columns=(
        ("user_id", "key"),
        ("generation", "integer"),
        ("refresh_token", "bytea"),
        ("due_cause", "varchar"),
        ("asked_by", "varchar"),
        ("failures", "integer"),
        ("suspected_for", "double precision"),
        ("status", "varchar"),
        ("appeals", "smallint"),
        ("last_error", "varchar"),
        ("lifetime", "double precision"),
        ("lifetime_used", "double precision"),
        ("claimed_at", "text"),
        ("six_months_over", "boolean"),
        ("deactivated", "boolean"),
        ("waited", "double precision"),
        ("due_at", "text"),
    ),
)
OF_USER = _sql("AND user_id = %(user_id)s")
# A token with a failure of its own would tell nothing about everybody else's.
_FOR_PROBE = _sql("AND suspected_at IS NULL AND failures = 0")
# A verdict is appealed (`decisions`) when no other token is due.
_APPEAL = (
    FROM_START.replace("'active'", "'reconnect_required'")
    .replace("due_at <= now()", "appeal_at <= now()")
    .replace("ORDER BY due_at", "ORDER BY appeal_at")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A due token whose row is locked by the present transaction. Times in seconds.

    Moments are text, as PostgreSQL writes them: only PostgreSQL reads them again, and
    converting them to datetimes and back took 70 µs of each refresh.
    """

    user_id: UserId
    generation: int
    sealed_refresh_token: bytes = field(repr=False)
    cause: str
    requested_by: str
    failures: int
    suspected_for: float | None
    """Since the first refusal that no grant has followed; None: there is none."""
    status: str
    appeals: int
    last_error: str
    lifetime: float
    lifetime_used: float
    claimed_at: str
    """When the claim reached PostgreSQL: from here a grant's lifetime is counted."""
    six_months_over: bool
    deactivated: bool
    """Whether the user may not log in."""
    waited: float
    """Since it was due: much of it says that the lanes are behind."""
    due_at: str

    @property
    def suspected(self) -> bool:
        """Whether Spotify has refused this token since its last grant."""
        return self.suspected_for is not None

    @property
    def is_appeal(self) -> bool:
        """Whether a verdict is asked about again."""
        return self.status == SpotifyToken.Status.RECONNECT_REQUIRED

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong with this token, so that a failure tells about Spotify."""
        return not (self.suspected or self.failures or self.is_appeal)

    def refresh_token(self) -> str:
        """The token itself. Raises encryption.DecryptionError."""
        return SpotifyToken.unseal("refresh_token", self.sealed_refresh_token, user_id=self.user_id)


Find = Callable[[ClaimTransaction], Claim | None]
"""Finds and locks a due token that nobody else holds; None if there is none."""


def most_urgent(transaction: ClaimTransaction) -> Claim | None:
    """The most urgent due token that nobody else holds. See `process.DueCursor`."""
    position = process.due.position()
    claim = None
    if position is not None:
        with kept(KEPT_FROM_CURSOR) as sql:
            claim = _claim(transaction, sql, due_from=position)
    scanned = claim is None
    if scanned:
        claim = _claim(transaction, FROM_START)
    if claim is not None:
        process.due.move_to(claim.due_at, scanned=scanned)
    return claim


def of_user(user_id: UserId) -> Find:
    """Finds one user's token, if it is due."""
    return partial(_claim, sql=OF_USER, user_id=user_id)


def for_probe(transaction: ClaimTransaction) -> Claim | None:
    """The most urgent token that can tell whether Spotify is well again."""
    return _claim(transaction, _FOR_PROBE)


def for_appeal(transaction: ClaimTransaction) -> Claim | None:
    """A token that Spotify has refused for good, if it is time to ask again."""
    return _claim(transaction, _APPEAL)


def _claim(transaction: ClaimTransaction, sql: str, **parameters: Any) -> Claim | None:
    exchange = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS)
    bounds = _BOUNDS.format(statement=STATEMENT_SECONDS * 1000, exchange=exchange * 1000)
    row = transaction.claim(f"{bounds}{sql}", parameters)
    if row is None:
        return None
    user_id, generation, refresh_token, cause, requested_by, failures, suspected_for = row[:7]
    status, appeals, last_error, lifetime, used, claimed_at = row[7:13]
    six_months_over, deactivated, waited, due_at = row[13:]
    return Claim(
        user_id=user_id,
        generation=generation,
        sealed_refresh_token=bytes(refresh_token),
        cause=Cause.APPEAL if status == SpotifyToken.Status.RECONNECT_REQUIRED else cause,
        requested_by=requested_by,
        failures=failures,
        suspected_for=suspected_for,
        status=status,
        appeals=appeals,
        last_error=last_error,
        lifetime=lifetime,
        lifetime_used=used,
        claimed_at=claimed_at,
        six_months_over=six_months_over,
        deactivated=deactivated,
        waited=waited,
        due_at=due_at,
    )
