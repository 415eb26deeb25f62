"""Keeping secrets out of error reports.

Reporters such as Sentry send the local variables of every frame of a traceback, and below an
exchange with Spotify each frame, those of requests and urllib3 too, has a token, a code or our
client's secret in hand. Types that hide their value would help in our own frames only. So the
functions that have secrets in hand forget the variables of all frames below them when they fail:
the report still says what was raised, and in which lines.
"""

import functools
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def forgets_variables(function: Callable[P, T]) -> Callable[P, T]:
    """A function that leaves no variable in the traceback of an exception that it raises.

    Its own arguments are forgotten too. What its caller holds is the caller's to hide, and so is
    an exception that the caller handles meanwhile: to clear the frame of a coroutine that waits for
    this function would end it.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        handled = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            _forget(error, but=handled)
            raise

    return call


def _forget(error: BaseException, *, but: BaseException | None) -> None:
    """Clear the frames of an exception, and of all that led to it; those that run stay."""
    seen = {id(but)} - {id(error)}
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        traceback.clear_frames(each.__traceback__)
        waiting += [each.__cause__, each.__context__]
