"""What the errors of the read side mean for a request, in words and for programs."""

import pytest

from spotify_auth.problems import lasting, problem_of
from spotify_auth.web_api import errors


@pytest.mark.parametrize("error", errors.WebApiError.__subclasses__())
def test_every_error_of_the_web_api_has_words(error: type[errors.WebApiError]) -> None:
    is_limit = error is errors.RateLimited
    problem = problem_of(errors.RateLimited(retry_after=9) if is_limit else error("x"))

    assert problem.message
    assert problem.status >= 400


def test_a_limit_says_how_long_it_lasts() -> None:
    problem = problem_of(errors.RateLimited(retry_after=48_925))

    assert problem.retry_after == 48_926
    assert "about 14 hours" in problem.message


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "a minute or two"),
        (119, "a minute or two"),
        (120, "about 2 minutes"),
        (7199, "about 120 minutes"),
        (7200, "about 2 hours"),
        (86_400, "about 24 hours"),
    ],
)
def test_a_wait_has_words_that_stay_true_for_a_while(seconds: int, words: str) -> None:
    assert lasting(seconds) == words
