"""The one way to the Web API: bounded in time, to one host only, with typed errors."""

import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests

from spotify_auth.accounts_service import spotify
from spotify_auth.conf import settings
from spotify_auth.http_client import AnswerTooLarge, read_body, session_of_this_thread
from spotify_auth.retry_after import retry_after
from spotify_auth.secrecy import forgets_variables
from spotify_auth.web_api import pause
from spotify_auth.web_api.endpoints import endpoint_of
from spotify_auth.web_api.errors import (
    OwnerWithoutPremium,
    RateLimited,
    Unavailable,
    WebApiError,
    error_of,
    is_quota_spent,
)
from spotify_auth.web_api.response import SpotifyResponse

logger = logging.getLogger(__name__)

CALL_SECONDS = 8.0
"""The longest that a call may take, the repetition after a 401 included."""


LOG_AGAIN_SECONDS = 60.0
"""A process logs no more often than this what every call is answered with."""


class _Memory:
    """By `time.monotonic()`."""

    log_at = 0.0


_memory = _Memory()


def forget() -> None:
    """Know nothing, as a new process does: for tests."""
    global _memory
    _memory = _Memory()


class ForeignAddress(ValueError):
    """The address is not the Web API's: it would be given the access token."""


def address_of(path: str) -> str:
    """The address of "/me"; a whole address, such as a page's `next`, stays as it is."""
    home = f"{settings.SPOTIFY_API_URL}{spotify.API_VERSION_PATH}"
    return f"{home}{path}" if path.startswith("/") else path


def is_web_api(address: str) -> bool:
    """Whether a whole address, as a client will ask for it, is the Web API's."""
    return address.startswith(_home())


def require_web_api(address: str) -> None:
    """Raise ForeignAddress for any other, since it would be given the access token."""
    if not is_web_api(address):
        raise ForeignAddress("not an address of the Web API")


def get(path: str, query: Mapping[str, str | int]) -> requests.PreparedRequest:
    """A GET request, ready to be sent."""
    address = f"{address_of(path)}?{urlencode(query)}" if query else address_of(path)
    session = session_of_this_thread(total_seconds=CALL_SECONDS)
    return session.prepare_request(requests.Request("GET", address))


@forgets_variables
def send(
    request: requests.PreparedRequest,
    *,
    access_token: str,
    deadline: float | None = None,
    stream: bool = False,
) -> SpotifyResponse:
    """Send a request with this token; an answer of 2xx or 304.

    `deadline`, by `time.monotonic()`, is CALL_SECONDS from now unless the call began
    earlier. Raises WebApiError, and ForeignAddress before anything is sent.
    """
    require_web_api(request.url or "")
    endpoint = endpoint_of(request.url or "")
    pause.check(endpoint)
    began = time.monotonic()
    request.headers["Authorization"] = f"Bearer {access_token}"
    try:
        response = session_of_this_thread(total_seconds=CALL_SECONDS).send(
            request, deadline=deadline, stream=stream
        )
        if 200 <= response.status_code < 300 or response.status_code == 304:
            return SpotifyResponse.of(response)
        with response:
            if stream:
                read_body(response)
            raise failure_of(response, endpoint=endpoint, began=began)
    except AnswerTooLarge:
        raise Unavailable("the answer is too large") from None
    except requests.RequestException:
        # `from None`: the chained error carries the request.
        raise Unavailable("no answer") from None
    finally:
        # The request goes on living in the response, and with it in logs and reports.
        del request.headers["Authorization"]


def failure_of(response: requests.Response, *, endpoint: str, began: float) -> WebApiError:
    """The error that an answer stands for which is neither 2xx nor 304.

    A 429 begins a pause. `began`: when the call did, by `time.monotonic()`.
    """
    if response.status_code == 429:
        seconds, quota = retry_after(response.headers), is_quota_spent(response)
        seconds = pause.start(endpoint, seconds, quota=quota, began=began)
        return RateLimited(retry_after=seconds)
    error = error_of(response)
    if isinstance(error, OwnerWithoutPremium):
        _tell_the_operator()
    return error


def json_object(response: requests.Response) -> dict[str, Any] | None:
    """The answer's JSON object, or None for an answer without one. Raises Unavailable."""
    answer = SpotifyResponse.of(response).json()
    if answer is not None and not isinstance(answer, dict):
        raise Unavailable("not a JSON object")
    return answer


def _tell_the_operator() -> None:
    """Each call of each user is refused until the owner acts: log it, but not each time."""
    now = time.monotonic()
    if now >= _memory.log_at:
        _memory.log_at = now + LOG_AGAIN_SECONDS
        logger.error("web_api_owner_without_premium")


def _home() -> str:
    """How each address of the Web API begins, written as requests writes it.

    The slash ends the host and the port, so that no other host begins like this.
    """
    home = requests.PreparedRequest()
    home.prepare_url(f"{settings.SPOTIFY_API_URL}/", {})
    return home.url or ""
