"""What a failed exchange means for its row: a pure decision."""

from dataclasses import dataclass

from spotify_auth import schedule
from spotify_auth.accounts_service.errors import AccountsServiceError, GrantRefused
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresh.claims import Claim


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a failed exchange means for its row. `due_in` is in seconds from now."""

    outcome: Outcome
    error: str
    due_in: float
    status: SpotifyToken.Status = SpotifyToken.Status.ACTIVE


def judge(
    claim: Claim, error: AccountsServiceError, *, believable: bool, fraction: float
) -> Verdict:
    """Decide what a failed exchange means. `fraction` is a random number in [0, 1).

    Only a second `invalid_grant` is terminal, and only when Spotify is `believable`: a
    first one may be a fault of Spotify's, and the access token still lives while it
    waits for its confirmation.
    """
    if isinstance(error, GrantRefused):
        if claim.suspected and believable:
            return Verdict(
                outcome=Outcome.RECONNECT_REQUIRED,
                error=error.code,
                due_in=0,
                status=SpotifyToken.Status.RECONNECT_REQUIRED,
            )
        return Verdict(
            outcome=Outcome.SUSPECTED,
            error=error.code,
            due_in=schedule.confirm_after(claim.lifetime),
        )
    return Verdict(
        outcome=Outcome.ANSWER_UNKNOWN if error.unanswered else Outcome.RETRY,
        error=error.code,
        due_in=schedule.back_off(claim.failures + 1, fraction=fraction),
    )
