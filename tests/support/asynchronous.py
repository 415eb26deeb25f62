"""Async code in a test that is not async itself."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.db import DEFAULT_DB_ALIAS, connections

_T = TypeVar("_T")


@contextmanager
def without_the_browsers_loop() -> Iterator[None]:
    """In this thread no event loop runs, and Django's connection stays what it is.

    Playwright's loop goes on in the thread of the tests once a browser was used there. asgiref
    takes it for one that waits for this very call, and Django has connections of its own for it,
    and is told not to mind it.
    """
    unsafe = os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
    loop, connection = asyncio._get_running_loop(), connections[DEFAULT_DB_ALIAS]
    asyncio._set_running_loop(None)
    own = connections[DEFAULT_DB_ALIAS]
    connections[DEFAULT_DB_ALIAS] = connection
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = own
        asyncio._set_running_loop(loop)
        if unsafe:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = unsafe


def run_async(view: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any, **named: Any) -> _T:
    """Run it to its end, in this thread's transaction."""
    with without_the_browsers_loop():
        return async_to_sync(view)(*arguments, **named)
