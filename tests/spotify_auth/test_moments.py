"""Moments in words."""

import pytest

from spotify_auth.templatetags.moments import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"),
        (34, "in 34 s"),
        (-12, "12 s ago"),
        (119, "in 119 s"),  # the smaller unit until the larger one fits twice
        (120, "in 2 min"),
        (-3 * 3600, "3 h ago"),
        (100 * 86_400, "in 100 d"),
    ],
)
def test_moments_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
