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
    UNAVAILABLE_SECONDS,
    Pause,
    Reason,
    seconds_after_429,
)
from spotify_auth.failure_codes import FailureCode
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.history import Evidence

REFUSALS_NEEDED = 3
"""How often Spotify must refuse a token before it is believed to be dead."""

DEACTIVATED_SECONDS = 24 * 3600.0
"""How long the token of a deactivated user sleeps before the claim looks again. When the user is
active again, the next page wakes it, and so does the admin."""

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
class SavedGrantUnreadable:
    """An earlier attempt has saved its grant, and this version or these keys cannot read it."""


@dataclass(frozen=True, slots=True)
class Deactivated:
    """The user may not log in: Spotify was not asked."""


@dataclass(frozen=True, slots=True)
class Unforeseen:
    """An exception that no rule knows."""


@dataclass(frozen=True, slots=True)
class Undecryptable:
    """No key opens the stored refresh token: Spotify was not asked."""


@dataclass(frozen=True, slots=True)
class Unstorable:
    """PostgreSQL refused to store the answer. A grant among it is saved in Redis."""


OwnAnswer = (
    SavedGrant
    | SavedGrantUnreadable
    | Unresolved
    | Deactivated
    | Undecryptable
    | Unstorable
    | Unforeseen
)
"""What stands for an answer when Spotify was not asked, or its answer is of no use."""
AnyAnswer = Answer | OwnAnswer


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
    appeals: int = 0
    """How many appeals against the verdict were refused."""
    appeal_in: float | None = None
    """In seconds: when Spotify is asked again in spite of a verdict; None is never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Postpone:
    """Let the row be due later, without an event: nothing was tried."""

    due_in: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PutOff:
    """Let the row be due later as a failure does, without an event: PostgreSQL refused one, or it
    would say again what the newest one says."""

    error: str
    due_in: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What becomes of the row, of everybody else, and of what is known of the attempt."""

    write: StoreGrant | StoreFailure | Postpone | PutOff
    outcome: Outcome
    pause: Pause | None = None
    remember_lost: bool = False
    """Whether a later refusal of this generation must be called a lost answer."""


def decide(
    claim: Claim, answer: AnyAnswer, seen: Evidence, probing: bool, fraction: float
) -> Decision:
    """Decide what an answer means: total, and pure.

    `probing`: this lane asks whether a cool-down is over. `fraction` is a random number in
    [0, 1), for jitter.

    A verdict on a refused token is in no hurry: it gains nothing while the access token
    lives. And it can be appealed: Spotify is asked again after 1, 6 and 24 hours.
    """
    match answer:
        case Granted(grant):
            return _store(claim, grant, claim.claimed_at, cause=claim.cause, fraction=fraction)
        case SavedGrant(grant=grant, issued_at=issued_at):
            return _store(claim, grant, issued_at, cause=Cause.RESCUE, fraction=fraction)
        case Unresolved():
            return Decision(write=Postpone(due_in=UNRESOLVED_SECONDS), outcome=Outcome.RETRY)
        case Deactivated():
            asleep = Postpone(due_in=DEACTIVATED_SECONDS)
            return Decision(write=asleep, outcome=Outcome.RETRY, remember_lost=seen.answer_was_lost)
        case Unstorable():
            return _put_off(claim, FailureCode.UNSTORABLE, fraction)
        case RateLimited(retry_after):
            limited = Pause(Reason.RATE_LIMITED, seconds_after_429(retry_after))
            if claim.is_appeal:
                return _appeal_later(claim, seen, limited)
            return _back_off(claim, answer.code, seen, fraction, limited)
        case Refused() | ClientRefused() | Undecryptable() if (
            claim.is_appeal and not seen.clients_are_refused
        ):
            return _condemn(claim, claim.last_error, appeals=claim.appeals + 1)
        case _ if claim.is_appeal:
            return _appeal_later(claim, seen)
        case Refused() if claim.six_months_over:
            return _condemn(claim, FailureCode.SIX_MONTHS_OVER)
        case Refused() if _is_believed(claim, seen):
            return _condemn(claim, _why_refused(seen))
        case Refused():
            return _suspect(claim, seen, fraction)
        case ClientRefused() if seen.client_refused_too_long:
            return _condemn(claim, FailureCode.CLIENT_REFUSED)
        case ClientRefused(code):
            refused = Pause(Reason.CLIENT_REFUSED, CLIENT_REFUSED_SECONDS)
            pause = refused if probing or seen.clients_are_refused else None
            return _back_off(claim, code, seen, fraction, pause)
        case Undecryptable() if claim.last_error == FailureCode.UNDECRYPTABLE:
            limit = schedule.UNDECRYPTABLE_LIMIT_SECONDS
            return _put_off(claim, FailureCode.UNDECRYPTABLE, fraction, limit=limit)
        case Undecryptable():
            return _back_off(claim, FailureCode.UNDECRYPTABLE, seen, fraction)
        case SavedGrantUnreadable():
            return _back_off(claim, FailureCode.SAVED_GRANT_UNREADABLE, seen, fraction)
        case Unforeseen():
            return _back_off(claim, FailureCode.UNFORESEEN, seen, fraction)
        case Unavailable(code) | Unreadable(code) | AnswerLost(code):
            unavailable = Pause(Reason.UNAVAILABLE, UNAVAILABLE_SECONDS)
            pause = unavailable if probing or seen.nobody_is_answered else None
            return _back_off(claim, code, seen, fraction, pause)


def _store(claim: Claim, grant: Grant, issued_at: str, *, cause: str, fraction: float) -> Decision:
    late = claim.lifetime_used > claim.lifetime
    due_in = schedule.refresh_after(grant.expires_in, fraction=fraction, late=late)
    write = StoreGrant(grant=grant, issued_at=issued_at, cause=cause, due_in=due_in)
    return Decision(write=write, outcome=Outcome.REFRESHED)


def _is_believed(claim: Claim, seen: Evidence) -> bool:
    """Refused often and long enough, with a dead access token, and not as one of many."""
    return (
        claim.lifetime_used > claim.lifetime
        and seen.refused_before + 1 >= REFUSALS_NEEDED
        and (claim.suspected_for or 0) >= claim.lifetime * schedule.CONFIRMED_SHARE
        and (seen.refusals_are_rare or seen.held_too_long)
    )


def _condemn(claim: Claim, error: str, *, appeals: int = 0) -> Decision:
    write = StoreFailure(
        error=error,
        due_in=0,
        status=SpotifyToken.Status.RECONNECT_REQUIRED,
        appeals=appeals,
        appeal_in=schedule.appeal_after(appeals),
    )
    return Decision(write=write, outcome=Outcome.RECONNECT_REQUIRED)


def _appeal_later(claim: Claim, seen: Evidence, pause: Pause | None = None) -> Decision:
    """Spotify did not say yes or no: the verdict stands, and the appeal is made again soon."""
    write = StoreFailure(
        error=claim.last_error,
        due_in=0,
        status=SpotifyToken.Status.RECONNECT_REQUIRED,
        appeals=claim.appeals,
        appeal_in=schedule.BACK_OFF_LIMIT_SECONDS,
    )
    return Decision(
        write=write, outcome=Outcome.RETRY, pause=pause, remember_lost=seen.answer_was_lost
    )


def _suspect(claim: Claim, seen: Evidence, fraction: float) -> Decision:
    due_in = schedule.ask_again_after(
        claim.lifetime,
        suspected_for=claim.suspected_for or 0,
        waited=claim.waited,
        fraction=fraction,
    )
    write = StoreFailure(error=_why_refused(seen), due_in=due_in)
    return Decision(write=write, outcome=Outcome.SUSPECTED, remember_lost=seen.answer_was_lost)


def _why_refused(seen: Evidence) -> FailureCode:
    """We may know more than Spotify says."""
    return FailureCode.ANSWER_LOST if seen.answer_was_lost else FailureCode.INVALID_GRANT


def _put_off(
    claim: Claim,
    error: FailureCode,
    fraction: float,
    *,
    limit: float = schedule.BACK_OFF_LIMIT_SECONDS,
) -> Decision:
    due_in = schedule.back_off(claim.failures + 1, fraction=fraction, limit=limit)
    return Decision(write=PutOff(error=error, due_in=due_in), outcome=Outcome.RETRY)


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
