"""Why logging in by a Spotify account did not succeed, in words for the user."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus

from spotify_auth import login_failures, login_problems
from spotify_auth.login_problems import Words


class Reason(StrEnum):
    """Why somebody with a grant is not logged in; `login_failures.Reason` has the others."""

    INACTIVE = "inactive"
    ANOTHER_ACCOUNT = "another_account"
    """Logged in by one Spotify account, and back from Spotify with another."""
    CONNECT_INSTEAD = "connect_instead"
    """Logged in as a user without a Spotify account, and the account is nobody's yet."""
    LINK_WITH_PASSWORD = "link_with_password"  # noqa: S105  (a word)
    """An administrator came back with an account that is not linked, and typed no password."""


WORDS: Mapping[StrEnum, Words] = {
    **login_problems.WORDS,
    Reason.INACTIVE: Words(
        HTTPStatus.FORBIDDEN,
        "This account is switched off",
        "An administrator of this site has deactivated it. Please ask them.",
    ),
    Reason.ANOTHER_ACCOUNT: Words(
        HTTPStatus.CONFLICT,
        "That is another Spotify account",
        "You are logged in here with one Spotify account and came back from Spotify with another. "
        "You are still logged in as before. To use the other account, switch to it.",
    ),
    Reason.CONNECT_INSTEAD: Words(
        HTTPStatus.CONFLICT,
        "You are logged in already",
        "The user you are logged in as has no Spotify account, and this one belongs to nobody "
        "here yet. Nothing was stored. Connect it to yourself, or log out first.",
    ),
    Reason.LINK_WITH_PASSWORD: Words(
        HTTPStatus.CONFLICT,
        "Linking needs your password",
        "You are an administrator, and this Spotify account is not linked to you. Nothing was "
        "stored. The next page says what linking means, and asks for your password.",
    ),
    login_failures.Reason.LINKED_TO_ANOTHER: Words(
        HTTPStatus.CONFLICT,
        "This Spotify account belongs to another user here",
        "You are still logged in as before. To become that user, switch to it. To connect a "
        "Spotify account to the user you are, log in to another one on Spotify first.",
    ),
}
"""The words for each reason, those of spotify_auth included."""
