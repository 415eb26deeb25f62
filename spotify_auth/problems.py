"""Why a request gets no music: a code for programs, words for users, and a JSON answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from django.http import JsonResponse
from django.utils.cache import add_never_cache_headers

from spotify_auth.tokens import ReconnectRequired, RefreshPaused, TokenStale, TokenUnavailable
from spotify_auth.web_api.errors import RateLimited, Unauthorized, WebApiError

RETRY_SECONDS = 3
"""When to ask again about what mends itself: a refresh that was asked for takes a moment."""

PAUSED_RETRY_SECONDS = 60
"""When to ask again about what an administrator has paused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """`code` and `status` are for programs, `message` is for users."""

    code: str
    status: HTTPStatus
    message: str
    reason: str = ""
    """Why a reconnect is required; see `tokens.ReconnectRequired`."""
    scopes: tuple[str, ...] = ()
    """Those that are missing."""
    retry_after: int | None = None
    """In seconds, where waiting helps."""

    def body(self) -> dict[str, object]:
        """What a program is told."""
        body: dict[str, object] = {"code": self.code, "message": self.message}
        if self.reason:
            body["reason"] = self.reason
        if self.scopes:
            body["scopes"] = self.scopes
        return body

    def as_json(self) -> JsonResponse:
        """The answer to a program, which nobody may keep."""
        response = JsonResponse(self.body(), status=self.status)
        if self.retry_after is not None:
            response["Retry-After"] = str(self.retry_after)
        add_never_cache_headers(response)
        return response


NOT_LOGGED_IN = Problem(
    code="not_logged_in", status=HTTPStatus.UNAUTHORIZED, message="Nobody is logged in."
)
NOT_SAME_ORIGIN = Problem(
    code="not_same_origin",
    status=HTTPStatus.FORBIDDEN,
    message="Only this site's own pages may ask for this.",
)
NOT_CONNECTED = Problem(
    code="not_connected", status=HTTPStatus.CONFLICT, message="Spotify is not connected."
)
RECONNECTING = Problem(
    code="reconnecting",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    message="The access is being renewed in the background.",
    retry_after=RETRY_SECONDS,
)
PAUSED = Problem(
    code="paused",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    message="An administrator has paused the renewal of this access.",
    retry_after=PAUSED_RETRY_SECONDS,
)
_OF_THE_WEB_API = {
    "insufficient_scope": (HTTPStatus.FORBIDDEN, "The user has not allowed this."),
    "not_allowed": (
        HTTPStatus.FORBIDDEN,
        "Spotify does not let this account use the site yet: "
        "its operators must add it to their app.",
    ),
    "owner_without_premium": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Spotify has switched this site's app off: the app's owner has no Premium subscription. "
        "Only the site's operators can change that.",
    ),
    "forbidden": (HTTPStatus.FORBIDDEN, "Spotify does not allow this."),
    "not_found": (HTTPStatus.NOT_FOUND, "Spotify has nothing here."),
    "bad_request": (HTTPStatus.BAD_GATEWAY, "Spotify did not understand the request."),
    "rate_limited": (HTTPStatus.SERVICE_UNAVAILABLE, "Spotify asks us to slow down."),
    "unavailable": (HTTPStatus.BAD_GATEWAY, "Spotify is not answering at the moment."),
}


def missing_scopes(scopes: Iterable[str]) -> Problem:
    """The user has not granted these."""
    status, message = _OF_THE_WEB_API["insufficient_scope"]
    return Problem(
        code="insufficient_scope", status=status, message=message, scopes=tuple(sorted(scopes))
    )


def problem_of(error: TokenUnavailable | WebApiError) -> Problem:
    """What an error of the read side means for the request."""
    if isinstance(error, TokenStale | Unauthorized):
        return RECONNECTING  # the reader has nudged already
    if isinstance(error, ReconnectRequired):
        return Problem(
            code="reconnect_required",
            status=HTTPStatus.CONFLICT,
            message="Spotify must be connected anew.",
            reason=error.reason,
        )
    if isinstance(error, RefreshPaused):
        return PAUSED
    if isinstance(error, TokenUnavailable):
        return NOT_CONNECTED
    status, message = _OF_THE_WEB_API[error.code]
    if not isinstance(error, RateLimited):
        return Problem(code=error.code, status=status, message=message)
    wait = round(error.retry_after) + 1
    message = f"{message} It may be asked again in {lasting(wait)}."
    return Problem(code=error.code, status=status, message=message, retry_after=wait)


def lasting(seconds: int) -> str:
    """How long a wait is, in words that stay true for a while: "about 14 hours"."""
    if seconds < 120:
        return "a minute or two"
    if seconds < 2 * 3600:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"
