"""What the Web API can say other than yes.

WebApiError
|-- Unauthorized        401: the access token is not accepted
|-- InsufficientScope   403: the user did not grant what this call needs
|-- NotAllowed          403: not on the list of users of an app in development mode
|-- OwnerWithoutPremium 403: the app's owner has no Premium: every call of the app is refused
|-- Forbidden           403 for any other reason: another user's playlist, no Premium
|-- NotFound            404
|-- BadRequest          400 and any other 4xx: the call itself is wrong
|-- RateLimited         429: fail fast, never sleep on Retry-After
`-- Unavailable         5xx, no answer in time, or not in a form that makes sense
"""

from typing import Any

import requests

LONGEST_MESSAGE = 500


class WebApiError(Exception):
    """A Web API call failed. `code` is a short word for pages and logs."""

    code = "error"


class Unauthorized(WebApiError):
    """401: expired, revoked, or killed by a rotation."""

    code = "unauthorized"


class InsufficientScope(WebApiError):
    """403 `Insufficient client scope`."""

    code = "insufficient_scope"


class NotAllowed(WebApiError):
    """403: the app is in development mode, and its owner has not listed this user."""

    code = "not_allowed"


class OwnerWithoutPremium(WebApiError):
    """403: the Premium subscription of the app's owner has lapsed. Only the owner can act."""

    code = "owner_without_premium"


class Forbidden(WebApiError):
    """Any other 403."""

    code = "forbidden"


class NotFound(WebApiError):
    """404."""

    code = "not_found"


class BadRequest(WebApiError):
    """400, or a 4xx that has no class of its own."""

    code = "bad_request"


class RateLimited(WebApiError):
    """429, for one endpoint or for the whole application. `retry_after` is in seconds."""

    code = "rate_limited"

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("429")
        self.retry_after = retry_after


class Unavailable(WebApiError):
    """Spotify could not answer."""

    code = "unavailable"


_BY_STATUS = {401: Unauthorized, 404: NotFound}


def error_of(response: requests.Response) -> WebApiError:
    """The error that an answer stands for; 429 is the business of `transport`.

    Nothing of the answer's words is kept: only what kind of failure it was.
    """
    status = response.status_code
    if status == 403:
        return _forbidden(_message(response))("403")
    if status in _BY_STATUS:
        return _BY_STATUS[status](str(status))
    return BadRequest(str(status)) if 400 <= status < 500 else Unavailable(str(status))


def _forbidden(message: str) -> type[WebApiError]:
    words = message.casefold()
    if words.strip(" .") == "insufficient client scope":
        return InsufficientScope
    # "User not registered in the Developer Dashboard"; "Check settings on
    # developer.spotify.com/dashboard, the user may not be registered."; "The user is not
    # registered for this application. Please check your settings on https://…/dashboard."
    if "registered" in words and "dashboard" in words:
        return NotAllowed
    # "Active premium subscription required for the owner of the app. When the subscription …"
    if "premium" in words and "owner" in words:
        return OwnerWithoutPremium
    return Forbidden


def is_quota_spent(response: requests.Response) -> bool:
    """Whether a 429 is about the quota of the app's developer: all apps of that account, a day."""
    return _error(response).get("reason") == "QUOTA_EXCEEDED"


def _message(response: requests.Response) -> str:
    """`{"error": {"status": 403, "message": "…"}}`; some answers are the bare words."""
    error = _error(response)
    message = error["message"] if "message" in error else response.text[:LONGEST_MESSAGE]
    return message if isinstance(message, str) else ""


def _error(response: requests.Response) -> dict[str, Any]:
    """The object in the answer, empty if there is none."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError, RecursionError, Unavailable):
        return {}  # Unavailable is what the answer of an async session says that is no JSON
    return error if isinstance(error, dict) else {}
