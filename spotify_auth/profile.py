"""Whose an access token is: the one call of the Web API that a login makes."""

import logging
from dataclasses import dataclass
from typing import Any

import requests

from spotify_auth.accounts_service import spotify
from spotify_auth.http_client import session_of_this_thread
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.retry_after import retry_after
from spotify_auth.secrecy import forgets_variables
from spotify_auth.text import for_the_log, storable
from spotify_auth.web_api import NotAllowed, Unavailable, transport
from spotify_auth.web_api.errors import OwnerWithoutPremium, error_of, is_quota_spent

logger = logging.getLogger(__name__)

LONGEST_MESSAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A Spotify account."""

    account_id: str
    """Spotify promises never to change it."""
    display_name: str
    """Blank if the account has none; 255 characters at most."""


@forgets_variables
def account_of(access_token: str) -> Account:
    """The account behind an access token that a login was granted. Raises LoginFailed.

    The pause of the pages does not hold for it: that may last for hours, in which nobody could
    log in or reconnect, and a login is one call only.
    """
    request = transport.get(spotify.PROFILE_PATH, {})
    request.headers["Authorization"] = f"Bearer {access_token}"
    http = session_of_this_thread(total_seconds=transport.CALL_SECONDS)
    try:
        with http.send(request) as response:
            if response.status_code != 200:
                raise _refusal(response)
            profile = transport.json_object(response) or {}
    except (requests.RequestException, Unavailable):
        # `from None`: the chained error carries the request.
        raise LoginFailed(Reason.NO_ANSWER) from None
    account_id, name = account_id_in(profile), profile.get(spotify.DISPLAY_NAME)
    if account_id is None:
        raise LoginFailed(Reason.NO_ACCOUNT_ID)
    display_name = storable(name)[:255] if isinstance(name, str) else ""
    return Account(account_id=account_id, display_name=display_name)


def account_id_in(profile: object) -> str | None:
    """The ID of the account that a profile, or what was noted of it, is of; None if it says none.

    What could not be stored is none.
    """
    found = profile.get(spotify.ACCOUNT_ID) if isinstance(profile, dict) else None
    if not isinstance(found, str) or not 0 < len(found) <= 255 or found != storable(found):
        return None
    return found


def _refusal(response: requests.Response) -> LoginFailed:
    """Why Spotify did not say it; its own words are for the log."""
    status = response.status_code
    message, word = _words_of(response)
    reason = _reason(response)
    operators = reason in {Reason.OWNER_WITHOUT_PREMIUM, Reason.PROFILE_REFUSED, Reason.NOT_ALLOWED}
    logger.log(
        logging.ERROR if operators else logging.WARNING,
        "login_profile_refused status=%s reason=%s message=%s",
        status,
        for_the_log(word),
        for_the_log(message),
    )
    return LoginFailed(reason, retry_after=retry_after(response.headers) if status == 429 else None)


def _reason(response: requests.Response) -> Reason:
    status = response.status_code
    if status == 429:
        return Reason.QUOTA_SPENT if is_quota_spent(response) else Reason.RATE_LIMITED
    error = error_of(response)
    if isinstance(error, OwnerWithoutPremium):
        return Reason.OWNER_WITHOUT_PREMIUM
    if isinstance(error, NotAllowed):
        return Reason.NOT_ALLOWED
    return Reason.PROFILE_REFUSED if 400 <= status < 500 else Reason.NO_ANSWER


def _words_of(response: requests.Response) -> tuple[str, str]:
    """Spotify's message and its `reason`; some answers are the bare words of the message."""
    try:
        error: Any = response.json()["error"]
        said = error["message"], error.get("reason", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return response.text[:LONGEST_MESSAGE], ""
    message, reason = (part if isinstance(part, str) else "" for part in said)
    return message[:LONGEST_MESSAGE], reason
