"""What an answer means, for its row and for everybody else: pure and total.

The table "What each answer means" in docs/explanation/architecture.md says the same in
words; a test holds the two together.
"""

from dataclasses import dataclass

from spotify_auth import schedule
from spotify_auth.accounts_service.answers import (
    Answer,
    AnswerLost,
    ClientRefused,
    Granted,
    RateLimited,
    Refused,
    Unavailable,
    Unreadable,
)
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.cooldown import (
    CLIENT_REFUSED_SECONDS,
    OUTAGE_SECONDS,
    RATE_LIMITED_SECONDS,
    UNAVAILABLE_SECONDS,
    Pause,
    Reason,
)
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.history import Evidence

UNRESOLVED_SECONDS = 2.0
"""How long a row waits for another attempt that may still save its grant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedGrant:
    """A grant that was saved in Redis by an earlier attempt, which could not store it.

    `issued_at` is when its exchange began, as PostgreSQL writes it.
    """

    grant: Grant
    issued_at: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Another attempt on this generation began recently, and may still save its grant."""


@dataclass(frozen=True, slots=True)
class Undecryptable:
    """No key opens the stored refresh token: Spotify was not asked."""


@dataclass(frozen=True, slots=True)
class Unstorable:
    """PostgreSQL refused to store the answer. A grant among it is saved in Redis."""


AnyAnswer = Answer | SavedGrant | Unresolved | Undecryptable | Unstorable


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreGrant:
    """Store a new pair. `due_in` is in seconds from `issued_at`."""

    grant: Grant
    issued_at: str
    cause: str
    due_in: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreFailure:
    """Note a failed exchange. `due_in` is in seconds from now."""

    error: str
    due_in: float
    status: SpotifyToken.Status = SpotifyToken.Status.ACTIVE


@dataclass(frozen=True, kw_only=True, slots=True)
class Postpone:
    """Let the row be due later, without an event: nothing was tried."""

    due_in: float


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave the row as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What becomes of the row, of everybody else, and of what is known of the attempt."""

    write: StoreGrant | StoreFailure | Postpone | Leave
    outcome: Outcome | None
    """What the lane reports; None ends it."""
    pause: Pause | None = None
    remember_lost: bool = False
    """Whether a later refusal of this generation must be called a lost answer."""


def decide(
    claim: Claim, answer: AnyAnswer, seen: Evidence, probing: bool, fraction: float
) -> Decision:
    """Decide what an answer means: total, and pure.

    `probing`: this lane asks whether a cool-down is over. `fraction` is a random number in
    [0, 1), for jitter.

    Only a second `invalid_grant` costs a user the connection, and only while Spotify
    refreshes others: a first one may be a fault of Spotify's, and the access token still
    lives while it waits for its confirmation.
    """
    match answer:
        case Granted(grant):
            return _store(claim, grant, claim.claimed_at, cause=claim.cause, fraction=fraction)
        case SavedGrant(grant=grant, issued_at=issued_at):
            return _store(claim, grant, issued_at, cause=Cause.RESCUE, fraction=fraction)
        case Unresolved():
            return Decision(write=Postpone(due_in=UNRESOLVED_SECONDS), outcome=Outcome.RETRY)
        case RateLimited(retry_after):
            seconds = RATE_LIMITED_SECONDS if retry_after is None else retry_after
            return _leave(seen, Pause(Reason.RATE_LIMITED, seconds))
        case ClientRefused():
            return _leave(seen, Pause(Reason.CLIENT_REFUSED, CLIENT_REFUSED_SECONDS))
        case Refused() if seen.outage or (probing and not claim.suspected):
            return _suspect(claim, seen, Pause(Reason.OUTAGE, OUTAGE_SECONDS))
        case Refused() if claim.suspected and seen.others_were_refreshed:
            return Decision(
                write=StoreFailure(
                    error=_why_refused(claim, seen),
                    due_in=0,
                    status=SpotifyToken.Status.RECONNECT_REQUIRED,
                ),
                outcome=Outcome.RECONNECT_REQUIRED,
            )
        case Refused():
            return _suspect(claim, seen)
        case Undecryptable():
            return _back_off(claim, FailureCode.UNDECRYPTABLE, seen, fraction)
        case Unstorable():
            return _back_off(claim, FailureCode.UNSTORABLE, seen, fraction)
        case Unavailable(code) | Unreadable(code) | AnswerLost(code):
            unavailable = Pause(Reason.UNAVAILABLE, UNAVAILABLE_SECONDS)
            pause = unavailable if probing or seen.nobody_is_answered else None
            return _back_off(claim, code, seen, fraction, pause)


def _store(claim: Claim, grant: Grant, issued_at: str, *, cause: str, fraction: float) -> Decision:
    late = claim.lifetime_used > claim.lifetime
    due_in = schedule.refresh_after(grant.expires_in, fraction=fraction, late=late)
    write = StoreGrant(grant=grant, issued_at=issued_at, cause=cause, due_in=due_in)
    return Decision(write=write, outcome=Outcome.REFRESHED)


def _leave(seen: Evidence, pause: Pause) -> Decision:
    return Decision(write=Leave(), outcome=None, pause=pause, remember_lost=seen.answer_was_lost)


def _suspect(claim: Claim, seen: Evidence, pause: Pause | None = None) -> Decision:
    return Decision(
        write=StoreFailure(
            error=_why_refused(claim, seen), due_in=schedule.confirm_after(claim.lifetime)
        ),
        outcome=Outcome.SUSPECTED,
        pause=pause,
        remember_lost=seen.answer_was_lost,
    )


def _why_refused(claim: Claim, seen: Evidence) -> FailureCode:
    """We may know more than Spotify says."""
    if claim.six_months_over:
        return FailureCode.SIX_MONTHS_OVER
    return FailureCode.ANSWER_LOST if seen.answer_was_lost else FailureCode.INVALID_GRANT


def _back_off(
    claim: Claim, code: str, seen: Evidence, fraction: float, pause: Pause | None = None
) -> Decision:
    return Decision(
        write=StoreFailure(
            error=code, due_in=schedule.back_off(claim.failures + 1, fraction=fraction)
        ),
        outcome=Outcome.ANSWER_UNKNOWN if seen.lost_just_now else Outcome.RETRY,
        pause=pause,
        remember_lost=seen.answer_was_lost,
    )
