"""Why a login did not succeed, in words for the user whom it happened to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus

from spotify_auth.login_failures import Reason


@dataclass(frozen=True, slots=True)
class Words:
    """What a page says, and with which status."""

    status: HTTPStatus
    title: str
    text: str

    def with_wait(self, seconds: float | None) -> "Words":
        """The same, with when Spotify answers again, if that is known."""
        if seconds is None:
            return self
        return replace(self, text=f"{self.text} Spotify answers again in about {_span(seconds)}.")


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    number, unit = (round(minutes / 60), "hour") if minutes > 90 else (minutes, "minute")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


WORDS: Mapping[StrEnum, Words] = {
    Reason.UNKNOWN_STATE: Words(
        HTTPStatus.BAD_REQUEST,
        "This login is no longer valid",
        "It was used already, took longer than ten minutes (five to link an account), or began in "
        "another browser. Nothing has changed. Please try once more.",
    ),
    Reason.ANOTHER_USER: Words(
        HTTPStatus.CONFLICT,
        "Somebody else began this login",
        "You are not logged in here as the user who pressed the button. Nothing was stored. "
        "Log in as that user, or press the button as the user you are now.",
    ),
    Reason.LOGGED_IN_MEANWHILE: Words(
        HTTPStatus.CONFLICT,
        "You are logged in already",
        "While this login was under way you logged in, perhaps in another tab. It is not needed "
        "any more and changed nothing: go on as the user you are.",
    ),
    Reason.LOGGED_OUT_MEANWHILE: Words(
        HTTPStatus.CONFLICT,
        "You were logged out meanwhile",
        "You are not logged in here any more, so we cannot tell for whom Spotify sent you back. "
        "Nothing was stored. Log in, and then try once more.",
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
    Reason.REQUEST_REFUSED: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This site is not set up correctly",
        "Spotify refused what this site asks for. Only its operators can correct that: "
        "their log says login_refused_by_spotify. Your account is not affected.",
    ),
    Reason.REDIRECT_URI_REFUSED: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This site is not set up correctly",
        "Spotify does not accept the address that it should send you back to. Only this site's "
        "operators can correct that: their log says login_code_refused. Your account is not "
        "affected.",
    ),
    Reason.PAUSED: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Please wait a moment",
        "So that everybody's connection is kept, this site asks Spotify for nothing just now. "
        "Your login is not lost: reload this page a little later, but within ten minutes.",
    ),
    Reason.RATE_LIMITED: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Spotify asks this site to slow down",
        "Spotify limits how often this site may ask, and did not say who you are. "
        "Nothing was stored. Please try again later.",
    ),
    Reason.QUOTA_SPENT: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This site has used up its calls to Spotify",
        "Spotify allows this site's developer a number of calls, and they are spent, so it did not "
        "say who you are. Nothing was stored. That takes hours: please try again later.",
    ),
    Reason.OWNER_WITHOUT_PREMIUM: Words(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This site cannot use Spotify at present",
        "Spotify answers an app only while its owner has a Premium subscription, and this site's "
        "owner has none. Only the operators can correct that. Your account is not affected.",
    ),
    Reason.PROFILE_REFUSED: Words(
        HTTPStatus.BAD_GATEWAY,
        "Spotify refused to say who you are",
        "Nothing was stored, and trying again will not help. Please tell the operators of this "
        "site: their log says login_profile_refused.",
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
