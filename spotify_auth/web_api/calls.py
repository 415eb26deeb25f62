"""Calls in one line: one with a token in hand, or several at once for one user."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from spotify_auth.tokens import AccessToken, UserOrId
from spotify_auth.web_api import reading, transport
from spotify_auth.web_api.errors import Unauthorized, WebApiError
from spotify_auth.web_api.response import json_object

# Shared by all requests of this process, and so are its connections to Spotify.
_pool = ThreadPoolExecutor(max_workers=24, thread_name_prefix="web-api")

Answer = dict[str, Any] | None
"""A call's JSON object, or None if Spotify has nothing: 204, or an empty body."""

Calls = Mapping[str, tuple[str, Mapping[str, str | int]]]


def get(access_token: str, path: str, **query: str | int) -> Answer:
    """GET one Web API resource, for example "/me". Raises WebApiError."""
    request = transport.get(path, query)
    return json_object(transport.send(request, access_token=access_token))


def get_all(
    user: UserOrId, calls: Calls, *, requested_by: str = ""
) -> dict[str, Answer | WebApiError]:
    """Make several calls at once for one user, from one read of the token.

    `user` is a user or a primary key. `calls` maps a name to a path and its query; the
    result maps each name to the answer or to the error, so that one call that fails does
    not fail the others. Raises what `tokens.access_token_for` raises, and nudges where a
    token turns out to be stale; `requested_by` names the page in the token's history.
    """
    token = reading.read(user, requested_by=requested_by)
    results = _get_each(token, calls)
    if again := _refused(results, calls):
        newer = reading.after_unauthorized(user, token, requested_by=requested_by)
        if newer:
            results |= _get_each(newer, again)
            if _refused(results, calls):
                reading.refused(user, newer, requested_by=requested_by)
    return results


def _refused(results: Mapping[str, Answer | WebApiError], calls: Calls) -> Calls:
    """The calls that were answered with 401."""
    return {name: calls[name] for name, got in results.items() if isinstance(got, Unauthorized)}


def _get_each(token: AccessToken, calls: Calls) -> dict[str, Answer | WebApiError]:
    def one(path: str, query: Mapping[str, str | int]) -> Answer | WebApiError:
        try:
            return get(token.value, path, **query)
        except WebApiError as error:
            return error

    futures = {name: _pool.submit(one, *call) for name, call in calls.items()}
    return {name: future.result() for name, future in futures.items()}
