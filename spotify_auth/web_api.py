"""Spotify's Web API for pages: one token read, several calls at once, typed errors.

WebApiError
|-- Unauthorized        401: the access token is not accepted
|-- InsufficientScope   403: the person did not grant what this call needs
|-- NotAllowed          403: for example not on the allow-list of an app in development mode
|-- NotFound            404
|-- RateLimited         429: fail fast, never sleep on Retry-After
`-- Unavailable         5xx, no answer in time, or not in a form that makes sense
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import requests
from django.conf import settings

from spotify_auth import tokens
from spotify_auth.bounded_http import session_of_this_thread
from spotify_auth.models import Cause
from spotify_auth.tokens import AccessToken

CALL_SECONDS = 8.0

# Shared by all requests of this process, and so are its connections to Spotify.
_pool = ThreadPoolExecutor(max_workers=24, thread_name_prefix="web-api")


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
    """Any other 403."""

    code = "not_allowed"


class NotFound(WebApiError):
    """404."""

    code = "not_found"


class RateLimited(WebApiError):
    """429, for the whole application."""

    code = "rate_limited"


class Unavailable(WebApiError):
    """Spotify could not answer."""

    code = "unavailable"


Answer = dict[str, Any] | None
"""A call's JSON object, or None for 204 No Content."""


def get(access_token: str, path: str, **query: str | int) -> Answer:
    """GET one Web API resource, for example "/me". Raises WebApiError."""
    address = f"{settings.SPOTIFY_API_URL}/v1{path}"
    try:
        response = session_of_this_thread(total_seconds=CALL_SECONDS).get(
            f"{address}?{urlencode(query)}" if query else address,
            headers={"Authorization": f"Bearer {access_token}"},
        )
    except requests.RequestException:
        # `from None`: the chained error carries the Authorization header.
        raise Unavailable("no answer") from None
    if response.status_code == 204:
        return None
    if response.status_code != 200:
        raise _error(response)
    try:
        answer = response.json()
    except ValueError:
        raise Unavailable("not JSON") from None
    if not isinstance(answer, dict):
        raise Unavailable("not a JSON object")
    return answer


def get_all(
    user_id: int, calls: Mapping[str, tuple[str, Mapping[str, str | int]]]
) -> dict[str, Answer | WebApiError]:
    """Make several calls at once for one user, from one read of the token.

    `calls` maps a name to a path and its query; the result maps each name to the answer
    or to the error, so that one call that fails does not fail the others. Raises what
    `tokens.access_token_for` raises, and nudges where a token turns out to be stale.
    """
    try:
        token = tokens.access_token_for(user_id)
    except tokens.TokenStale as stale:
        tokens.nudge(user_id, generation=stale.generation, cause=Cause.STALE_READ)
        raise
    results = _get_each(token, calls)
    refused = {name: calls[name] for name, got in results.items() if isinstance(got, Unauthorized)}
    if refused:
        results |= _after_unauthorized(user_id, token, refused)
    return results


def _after_unauthorized(
    user_id: int, used: AccessToken, calls: Mapping[str, tuple[str, Mapping[str, str | int]]]
) -> dict[str, Answer | WebApiError]:
    """Repeat the calls once if the token has moved on meanwhile; else nudge.

    Some servers kill the old access token at rotation, so a 401 may only mean that a
    lane was faster than this page.
    """
    token = tokens.access_token_for(user_id)
    if token.generation != used.generation:
        return _get_each(token, calls)
    tokens.nudge(user_id, generation=used.generation, cause=Cause.UNAUTHORIZED)
    return {}


def _get_each(
    token: AccessToken, calls: Mapping[str, tuple[str, Mapping[str, str | int]]]
) -> dict[str, Answer | WebApiError]:
    def one(path: str, query: Mapping[str, str | int]) -> Answer | WebApiError:
        try:
            return get(token.value, path, **query)
        except WebApiError as error:
            return error

    futures = {name: _pool.submit(one, *call) for name, call in calls.items()}
    return {name: future.result() for name, future in futures.items()}


def _error(response: requests.Response) -> WebApiError:
    status = response.status_code
    if status == 401:
        return Unauthorized("401")
    if status == 403:
        return (
            InsufficientScope("403") if b"scope" in response.content.lower() else NotAllowed("403")
        )
    if status == 404:
        return NotFound("404")
    if status == 429:
        return RateLimited("429")
    return Unavailable(str(status))
