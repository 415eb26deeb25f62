"""Functions that leave no variable in the traceback of what they raise."""

import contextlib
import traceback
from collections.abc import Callable, Iterator

import pytest
from asgiref.sync import sync_to_async

from spotify_auth.secrecy import forgets_variables
from tests.support.asynchronous import run_async


class UnlikelyError(Exception):
    """What the tests raise."""


def variables_of(error: BaseException | None) -> str:
    """All that a reporter can read in the frames of an exception, and of what led to it."""
    found = ""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "shown" not in frame.f_locals:  # the test itself
                found += repr({k: v for k, v in frame.f_locals.items() if k != "error"})
        error = error.__cause__ or error.__context__
    return found


def below(token: str) -> None:
    copied = [token]
    raise UnlikelyError(len(copied))


def chained(token: str) -> None:
    try:
        below(token)
    except UnlikelyError:
        again = token
        raise ValueError(len(again)) from None


def each(token: str) -> Iterator[None]:
    yield
    below(token)


def generating(token: str) -> None:
    list(each(token))


@pytest.mark.parametrize("function", [below, chained, generating])
def test_nothing_in_hand_is_left(function: Callable[[str], None]) -> None:
    shown = {}
    for name, call in (("as it is", function), ("forgetful", forgets_variables(function))):
        try:
            call("".join(["a-", "token"]))
        except (UnlikelyError, ValueError) as error:
            shown[name] = variables_of(error)

    assert "a-token" in shown["as it is"]
    assert "a-token" not in shown["forgetful"]


def test_where_it_failed_is_left() -> None:
    try:
        forgets_variables(below)("a-token")
    except UnlikelyError as error:
        lines = "".join(traceback.format_exception(error))

    assert "in below" in lines
    assert "UnlikelyError: 1" in lines


def test_it_is_the_same_function_otherwise() -> None:
    @forgets_variables
    def double(number: int, *, times: int = 2) -> int:
        """Twice."""
        return number * times

    assert (double(2), double(2, times=3), double.__doc__) == (4, 6, "Twice.")


def test_a_coroutine_that_waits_while_it_handles_an_exception_goes_on() -> None:
    async def view() -> str:
        try:
            raise KeyError
        except KeyError:
            with contextlib.suppress(UnlikelyError):
                await sync_to_async(forgets_variables(below))("secret")
        return "answered"

    assert run_async(view) == "answered"


def test_what_the_caller_handles_is_forgotten_if_it_is_raised_again() -> None:
    @forgets_variables
    def again(error: Exception, token: str) -> None:
        raise error from ValueError(len(token))

    shown = ""
    try:
        try:
            raise UnlikelyError
        except UnlikelyError as handled:
            again(handled, "a-token")
    except UnlikelyError as error:
        shown = variables_of(error)

    assert "again" in shown
    assert "a-token" not in shown
