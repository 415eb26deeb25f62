"""Why something happened to a token, in a sentence for its user or for whoever runs the service."""

from collections.abc import Mapping
from typing import Final

from spotify_auth.cooldown import Reason
from spotify_auth.failure_codes import FailureCode
from spotify_auth.notices.models import Kind

_NOT_OUR_USERS_FAULT = "Nothing is wrong with your account: approving once more restores it."
_REFUSED = (
    "Spotify no longer accepts this connection. That happens when the app was removed from your "
    "Spotify account or when your password was reset."
)
_WHY_RECONNECT: Final[Mapping[str, str]] = {
    FailureCode.INVALID_GRANT: _REFUSED,
    FailureCode.ANSWER_LOST: "An answer from Spotify was lost on its way to us, and with it the "
    f"key to your connection. {_NOT_OUR_USERS_FAULT}",
    FailureCode.SIX_MONTHS_OVER: "Spotify ends every connection six months after it was approved. "
    "Approving once more starts another six months.",
    FailureCode.UNDECRYPTABLE: "Our copy of your access cannot be read any more. "
    f"{_NOT_OUR_USERS_FAULT}",
    FailureCode.BACKUP_RESTORED: "We had to restore a backup of this site, and the key to your "
    f"connection in it may be out of date. {_NOT_OUR_USERS_FAULT}",
    FailureCode.REQUIRED_BY_ADMIN: "An administrator of this site asks you to approve the "
    "connection once more. Nothing is wrong with your account.",
    FailureCode.CLIENT_REFUSED: "Spotify no longer renews this connection. Approving once more "
    "restores it.",
}
_WHY_CLOSED: Final[Mapping[str, str]] = {
    "disconnected": "The user disconnected Spotify. Our copy of the tokens is erased.",
    "revoked": "An administrator revoked the tokens. Our copy is erased.",
    "exported": "An operator handed the tokens to another keeper. Our copy is erased.",
    "user_deleted": "The user was deleted, and with the user the tokens and their history.",
}
_BY_OPERATOR: Final[Mapping[str, str]] = {
    Kind.TOKEN_PAUSED: "An operator has paused this token: it is not refreshed for now.",
    Kind.TOKEN_RESUMED: "An operator has resumed this token: it is refreshed now.",
    Kind.RECOVERED: "An operator lets Spotify be asked again at once.",
}
_WHY_PAUSED: Final[Mapping[str, str]] = {
    Reason.RATE_LIMITED: "Spotify limits how often we may ask: all refreshing waits as long as it "
    "wants.",
    Reason.CLIENT_REFUSED: "Spotify refuses this application's own credentials: no token is "
    "refreshed until that is mended.",
    Reason.UNAVAILABLE: "Spotify answers nobody: one token at a time tries whether it is back.",
    "operator": "An operator has paused all refreshing.",
    Reason.RESTORING: "An operator sorts out the tokens of a restored backup.",
}


def why_reconnect(reason: str) -> str:
    """Why a user must approve again, for that user; `reason` as in `tokens.ReconnectRequired`."""
    return _WHY_RECONNECT.get(reason, _REFUSED)


def why_suspected(reason: str) -> str:
    """Why a token is asked about again before anybody must do anything."""
    if reason == FailureCode.ANSWER_LOST:
        return (
            "Spotify refused this token after an answer of it was lost. It is asked again before "
            "anybody must reconnect."
        )
    return "Spotify refused this token. It is asked again before anybody must reconnect."


def why_recovered(*, after_verdict: bool) -> str:
    """Why nobody needs to do anything any more, after a grant."""
    if after_verdict:
        return "Spotify accepts this token after all: the user need not approve again."
    return "Spotify accepts this token again."


def why_connected(cause: str) -> str:
    """Where a new pair comes from; `cause` is the event's."""
    if cause == "adopted":
        return "The service took over Spotify tokens that were obtained elsewhere."
    return "The user has connected Spotify."


def why_closed(reason: str) -> str:
    """Why the tokens of a user were erased; `reason` as in `signals.token_closed`."""
    return _WHY_CLOSED[reason]


def why_reconnect_due(days: int) -> str:
    """What the user is asked to do before the six months are over."""
    left = "a day" if days == 1 else f"{days} days"
    return f"Spotify ends this connection in less than {left}: the user should approve once more."


def by_operator(kind: str) -> str:
    """What an operator did to a token; `kind` is a notice's."""
    return _BY_OPERATOR[kind]


def why_paused(reason: str) -> str:
    """Why no token is refreshed."""
    return _WHY_PAUSED.get(reason, "All refreshing pauses.")
