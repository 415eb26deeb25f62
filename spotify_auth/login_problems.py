"""Why a log-in did not succeed, in words for the person whom it happened to."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class _Words:
    status: HTTPStatus
    title: str
    text: str


_WORDS = {
    "unknown_state": _Words(
        HTTPStatus.BAD_REQUEST,
        "This log-in is no longer valid",
        "It was used already, took longer than ten minutes, or began in another browser. "
        "Nothing has changed. Please log in once more.",
    ),
    "access_denied": _Words(
        HTTPStatus.FORBIDDEN,
        "You chose not to connect Spotify",
        "That is fine: nothing was stored. You can connect whenever you like.",
    ),
    "spotify_error": _Words(
        HTTPStatus.BAD_GATEWAY,
        "Spotify could not complete the log-in",
        "Spotify reported an error and gave no access. Please try again in a moment.",
    ),
    "code_refused": _Words(
        HTTPStatus.BAD_REQUEST,
        "Spotify did not accept this log-in",
        "The code that Spotify gave us was used already or is too old. Please log in once more.",
    ),
    "misconfigured": _Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This site is not set up correctly",
        "Spotify does not accept this site's own credentials. Only its operators can mend "
        "that: their log says client_refused. Your account is not affected.",
    ),
    "no_answer": _Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Spotify is not answering",
        "The log-in could not be completed. Please try again in a moment.",
    ),
    "not_allowed": _Words(
        HTTPStatus.FORBIDDEN,
        "This Spotify account may not use the site yet",
        "The site's Spotify app is in development mode, and this account is not on its list "
        "of users. Ask the operators to add it in the Spotify Developer Dashboard.",
    ),
    "no_account_id": _Words(
        HTTPStatus.BAD_GATEWAY,
        "Spotify did not say who you are",
        "The answer had no account ID, so we cannot tell whose music this is. "
        "Please try again later.",
    ),
    "another_account": _Words(
        HTTPStatus.CONFLICT,
        "That is another Spotify account",
        "You are logged in here with one Spotify account and came back from Spotify with another. "
        "You are still logged in as before. To go on with the other account, switch to it.",
    ),
    "linked_to_another": _Words(
        HTTPStatus.CONFLICT,
        "This Spotify account belongs to another user here",
        "You are still logged in as before. To go on as that user, switch to it; to connect a "
        "Spotify account to the user you are, log in to another one on Spotify first.",
    ),
    "inactive": _Words(
        HTTPStatus.FORBIDDEN,
        "This account is switched off",
        "An administrator of this site has deactivated it. Please ask them.",
    ),
    "busy": _Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "That did not work just now",
        "Your connection is being renewed at this very moment. Please log in once more.",
    ),
}


class LoginProblem(Exception):
    """A log-in failed; `reason` is a word for the log, the rest is for the page."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = _WORDS[reason].status
        self.title = _WORDS[reason].title
        self.text = _WORDS[reason].text
