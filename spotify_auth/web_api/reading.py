"""Reading a token for a call, and what a reader does when it is stale or refused."""

import asyncio
import time
from typing import Final

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from spotify_auth import tokens
from spotify_auth.dead_man import dead_man
from spotify_auth.models import Cause
from spotify_auth.tokens import AccessToken, UserOrId

READ_AGAIN_SECONDS: Final = (0.0, 0.25, 0.65)
"""When the row is read again after a 401, in seconds from then."""


def read(
    user: UserOrId, *, requested_by: str = "", minimum_seconds: float | None = None
) -> AccessToken:
    """A fresh token. Raises what `tokens.access_token_for` raises; a stale one is nudged.

    `requested_by` names the page for the token's history.
    """
    try:
        return tokens.access_token_for(user, minimum_seconds=minimum_seconds)
    except tokens.TokenStale as stale:
        tokens.nudge(
            tokens.primary_key_of(user),
            generation=stale.generation,
            cause=Cause.STALE_READ,
            requested_by=requested_by,
        )
        dead_man.stale_token_met()
        raise


async def aread(user: UserOrId, *, requested_by: str = "") -> AccessToken:
    """The same for async code: its event loop does not wait."""
    return await sync_to_async(read)(user, requested_by=requested_by)


def after_unauthorized(
    user: UserOrId, used: AccessToken, *, deadline: float, requested_by: str = ""
) -> AccessToken | None:
    """The token to repeat a refused call with, once; None if there is none but the refused.

    Some servers kill the old access token at rotation, so a 401 may only mean that a lane
    was faster than this page, or is about to commit. So the row is read up to three times
    within 0.7 s, none of them after the deadline. Then the refused generation is nudged.
    """
    begun = time.monotonic()
    for moment in READ_AGAIN_SECONDS:
        if begun + moment >= deadline:
            break
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        token = read(user, requested_by=requested_by)
        if token.generation != used.generation:
            return token
    refused(user, used, requested_by=requested_by)
    return None


async def aafter_unauthorized(
    user: UserOrId, used: AccessToken, *, deadline: float, requested_by: str = ""
) -> AccessToken | None:
    """The same for async code: several calls at once do not wait for each other's turns."""
    begun = time.monotonic()
    for moment in READ_AGAIN_SECONDS:
        if begun + moment >= deadline:
            break
        await asyncio.sleep(max(0.0, begun + moment - time.monotonic()))
        token = await aread(user, requested_by=requested_by)
        if token.generation != used.generation:
            return token
    await sync_to_async(refused)(user, used, requested_by=requested_by)
    return None


def refused(user: UserOrId, token: AccessToken, *, requested_by: str = "") -> None:
    """Report that the Web API refused this generation, though it should be fresh."""
    tokens.nudge(
        tokens.primary_key_of(user),
        generation=token.generation,
        cause=Cause.UNAUTHORIZED,
        requested_by=requested_by,
    )


def page_of(request: HttpRequest) -> str:
    """The name of the page behind a request, as `requested_by` wants it."""
    return request.resolver_match.view_name if request.resolver_match else ""
