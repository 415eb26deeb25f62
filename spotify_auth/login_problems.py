"""Why a login did not succeed, in words for the user whom it happened to."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from spotify_auth.login import Reason


@dataclass(frozen=True, slots=True)
class Words:
    """What a page says, and with which status."""

    status: HTTPStatus
    title: str
    text: str


WORDS: Mapping[StrEnum, Words] = {
    Reason.UNKNOWN_STATE: Words(
        HTTPStatus.BAD_REQUEST,
        "This login is no longer valid",
        "It was used already, took longer than ten minutes, or began in another browser. "
        "Nothing has changed. Please try once more.",
    ),
    Reason.ANOTHER_USER: Words(
        HTTPStatus.CONFLICT,
        "Somebody else began to connect Spotify",
        "You are not logged in here as the user who pressed the button. Nothing was stored. "
        "Log in as that user, or connect Spotify to the user you are now.",
    ),
    Reason.ACCESS_DENIED: Words(
        HTTPStatus.FORBIDDEN,
        "You chose not to connect Spotify",
        "That is fine: nothing was stored. You can connect whenever you like.",
    ),
    Reason.SPOTIFY_ERROR: Words(
        HTTPStatus.BAD_GATEWAY,
        "Spotify could not complete the login",
        "Spotify reported an error and gave no access. Please try again in a moment.",
    ),
    Reason.CODE_REFUSED: Words(
        HTTPStatus.BAD_REQUEST,
        "Spotify did not accept this login",
        "The code that Spotify gave us was used already or is too old. Please try once more.",
    ),
    Reason.MISCONFIGURED: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This site is not set up correctly",
        "Spotify does not accept this site's own credentials. Only its operators can correct "
        "that: their log says client_refused. Your account is not affected.",
    ),
    Reason.NO_ANSWER: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Spotify is not answering",
        "The login could not be completed. Please try again in a moment.",
    ),
    Reason.NOT_ALLOWED: Words(
        HTTPStatus.FORBIDDEN,
        "This Spotify account may not use the site yet",
        "The site's Spotify app is in development mode, and this account is not on its list "
        "of users. Ask the operators to add it in the Spotify Developer Dashboard.",
    ),
    Reason.NO_ACCOUNT_ID: Words(
        HTTPStatus.BAD_GATEWAY,
        "Spotify did not say who you are",
        "The answer had no account ID, so we cannot tell whose music this is. "
        "Please try again later.",
    ),
    Reason.DIFFERENT_ACCOUNT: Words(
        HTTPStatus.CONFLICT,
        "That is another Spotify account",
        "You have connected a different Spotify account, and it stays connected. To use this "
        "one instead, disconnect the other first.",
    ),
    Reason.LINKED_TO_ANOTHER: Words(
        HTTPStatus.CONFLICT,
        "This Spotify account belongs to another user here",
        "Nothing was stored. Log in here as that user, or choose another account on Spotify.",
    ),
    Reason.BUSY: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "That did not work just now",
        "Your connection is being renewed at this very moment. Please try once more.",
    ),
}
"""The words for each reason."""
