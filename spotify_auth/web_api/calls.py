"""Calls in one line: one with a token in hand, or several at once for one user."""

import functools
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from asgiref.sync import sync_to_async

from spotify_auth.conf import settings
from spotify_auth.secrecy import forgets_variables
from spotify_auth.tokens import AccessToken, UserOrId
from spotify_auth.web_api import budget, reading, transport
from spotify_auth.web_api.errors import RateLimited, Unauthorized, WebApiError

CALLS_OF_A_PAGE = 6
"""How many calls each thread of the web server can make at the same time, as a dashboard does."""

Answer = dict[str, Any] | None
"""A call's JSON object, or None if Spotify has nothing: 204, or an empty body."""

Calls = Mapping[str, tuple[str, Mapping[str, str | int]]]


@forgets_variables
def get(access_token: str, path: str, **query: str | int) -> Answer:
    """GET one Web API resource, for example "/me". Raises WebApiError."""
    budget.take(1)
    return _get(access_token, path, query, deadline=time.monotonic() + transport.CALL_SECONDS)


def get_all(
    user: UserOrId,
    calls: Calls,
    *,
    requested_by: str = "",
    token: AccessToken | None = None,
) -> dict[str, Answer | WebApiError]:
    """Make several calls at once for one user, from one read of the token.

    `user` is a user or a primary key. `calls` maps a name to a path and its query; the
    result maps each name to the answer or to the error, so that one call that fails does
    not fail the others. Raises what `tokens.access_token_for` raises, and nudges where a
    token turns out to be stale; `requested_by` names the page in the token's history. A caller
    who has just read the token may give it.

    All of it takes 8 s at the most, the wait for a thread of this process included.
    """
    deadline = time.monotonic() + transport.CALL_SECONDS
    token = token or reading.read(user, requested_by=requested_by)
    results = _get_each(token, calls, deadline=deadline)
    if again := _refused(results, calls):
        newer = reading.after_unauthorized(
            user, token, deadline=deadline, requested_by=requested_by
        )
        if newer:
            results |= _get_each(newer, again, deadline=deadline)
            if _refused(results, calls):
                reading.refused(user, newer, requested_by=requested_by)
    return results


async def aget_all(
    user: UserOrId,
    calls: Calls,
    *,
    requested_by: str = "",
    token: AccessToken | None = None,
) -> dict[str, Answer | WebApiError]:
    """The same for an async view: its event loop does not wait.

    The calls are made by the same threads of this process. A view that is cancelled does not
    stop those that have begun: they end within their 8 s.
    """
    return await sync_to_async(get_all)(user, calls, requested_by=requested_by, token=token)


def _refused(results: Mapping[str, Answer | WebApiError], calls: Calls) -> Calls:
    """The calls that were answered with 401."""
    return {name: calls[name] for name, got in results.items() if isinstance(got, Unauthorized)}


def _get_each(
    token: AccessToken, calls: Calls, *, deadline: float
) -> dict[str, Answer | WebApiError]:
    def one(path: str, query: Mapping[str, str | int]) -> Answer | WebApiError:
        try:
            return _get(token.value, path, query, deadline=deadline)
        except WebApiError as error:
            return error

    try:
        budget.take(len(calls))
    except RateLimited as error:
        return dict.fromkeys(calls, error)
    pool = _pool(settings.WEB_THREADS * CALLS_OF_A_PAGE)
    # Each with the request's context variables, in which a project may keep an id for its log.
    futures = {
        name: pool.submit(functools.partial(copy_context().run, one, *call))
        for name, call in calls.items()
    }
    return {name: future.result() for name, future in futures.items()}


@forgets_variables
def _get(
    access_token: str, path: str, query: Mapping[str, str | int], *, deadline: float
) -> Answer:
    request = transport.get(path, query)
    return transport.json_object(
        transport.send(request, access_token=access_token, deadline=deadline)
    )


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """The threads of this process's calls: all requests share them, and their connections.

    Made when it is first needed: gunicorn forks after it has loaded this module.
    """
    return ThreadPoolExecutor(max_workers=threads, thread_name_prefix="web-api")
