"""Async code in a test that is not async itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async

_T = TypeVar("_T")


def run_async(view: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any, **named: Any) -> _T:
    """Run it to its end, in this thread's transaction.

    Playwright's event loop goes on in the thread of the tests once a browser was used there.
    asgiref takes that for a loop that waits for this very call, so it is hidden at first; and
    Django's connections are others without it, so it is there again for what runs in this thread.
    """
    loop = asyncio._get_running_loop()

    async def in_this_thread() -> _T:
        await sync_to_async(asyncio._set_running_loop)(loop)
        return await view(*arguments, **named)

    asyncio._set_running_loop(None)
    try:
        return async_to_sync(in_this_thread)()
    finally:
        asyncio._set_running_loop(loop)
