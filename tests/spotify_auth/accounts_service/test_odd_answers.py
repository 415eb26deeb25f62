"""Answers that must not be followed, or cannot be read to their end."""

import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from spotify_auth.accounts_service import answers
from tests.support.exchanges import refresh
from tests.support.servers import serving


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(settings: Settings, status: int) -> None:
    with (
        serving() as elsewhere,
        serving(
            status=status, headers={"Location": f"{elsewhere.url}/api/token"}, body=lambda: iter([])
        ) as server,
    ):
        settings.SPOTIFY_ACCOUNTS_URL = server.url

        got = refresh("any")

        assert isinstance(got, answers.Unavailable)

        assert got.code == f"http_{status}"
        assert (server.requests, elsewhere.requests) == (1, 0)


def without_end() -> Iterator[bytes]:
    while True:
        yield b" " * 65536


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(10**10)}])
def test_a_body_without_end_is_left(settings: Settings, headers: dict[str, str]) -> None:
    with serving(headers=headers, body=without_end) as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url

        got = refresh("any")

        assert isinstance(got, answers.Unreadable)

    assert got.code == "answer_too_large"
    # What fits into the buffers on the way, and not what fits into the deadline.
    assert server.sent_bytes < 32 * 1024 * 1024


def test_a_body_that_unpacks_to_a_thousandfold_is_not_unpacked(settings: Settings) -> None:
    packed = gzip.compress(bytes(60 * 1024 * 1024))
    with serving(
        headers={"Content-Encoding": "gzip", "Content-Length": str(len(packed))},
        body=lambda: iter([packed]),
    ) as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url
        tracemalloc.start()
        try:
            got = refresh("any")

            assert isinstance(got, answers.Unreadable)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert got.code == "answer_too_large"
    assert peak < 8 * 1024 * 1024


def test_a_body_shorter_than_announced_is_cut_short(settings: Settings) -> None:
    with serving(headers={"Content-Length": "500"}) as server:
        settings.SPOTIFY_ACCOUNTS_URL = server.url

        # Spotify may have rotated: the whole answer was on its way.
        assert refresh("any") == answers.AnswerLost("answer_cut_short")
