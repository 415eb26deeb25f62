"""Text from elsewhere, made fit for the database and for the log."""

import pytest

from spotify_auth.text import for_the_log


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("Invalid redirect URI", '"Invalid redirect URI"'),
        ("", '""'),
        ('a "word"', "\"a 'word'\""),
        ("a\nconnected user_id=1", '"a?connected user_id=1"'),  # no line of its own
        ("caf\u00e9\0", '"caf??"'),
        ("code " + "A1b-" * 20, '"code ..."'),  # a code or a token
        ("ab " * 1000, '"' + ("ab " * 1000)[:200] + '"'),
    ],
)
def test_words_of_others_are_one_short_value(text: str, logged: str) -> None:
    assert for_the_log(text) == logged
