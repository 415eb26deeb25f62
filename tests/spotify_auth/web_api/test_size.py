"""Answers that are larger than anything that Spotify sends, over real sockets."""

import gzip
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from accounts.models import User
from spotify_auth import web_api
from spotify_auth.accounts_service import answers, token_endpoint, transport
from spotify_auth.http_client import LARGEST_ANSWER_BYTES
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.profile import account_of
from spotify_auth.web_api import pause
from tests.support.servers import LoopbackServer, serving
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

BOMB = gzip.compress(b'{"account_id": "' + b"a" * 100_000_000 + b'"}')
"""100 KB that unpack to 100 MB."""
MEMORY = 12 * 1024 * 1024


def plain() -> Iterator[bytes]:
    yield b'{"account_id": "'
    for _ in range(1000):
        yield b"a" * 100_000


def fitting() -> Iterator[bytes]:
    yield b'{"account_id": "' + b"a" * (LARGEST_ANSWER_BYTES - 100) + b'"}'


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False)


@pytest.fixture(params=["plain", "bomb", "bomb in a bomb"])
def large(request: pytest.FixtureRequest, settings: Settings) -> Iterator[LoopbackServer]:
    """A Spotify whose answers are too large."""
    headers = {"plain": {}, "bomb": {"Content-Encoding": "gzip"}}.get(
        request.param, {"Content-Encoding": "gzip, gzip"}
    )
    bodies = {"plain": plain, "bomb": lambda: iter([BOMB])}
    body = bodies.get(request.param, lambda: iter([gzip.compress(BOMB)]))
    with serving(headers=headers, body=body) as server:
        settings.SPOTIFY_API_URL = settings.SPOTIFY_ACCOUNTS_URL = server.url
        yield server


def grown(act: Callable[[], object]) -> int:
    """The memory in bytes that it took at its largest."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_get_all_says_unavailable_and_reads_no_further(user: User, large: LoopbackServer) -> None:
    results: dict[str, object] = {}

    most = grown(lambda: results.update(web_api.get_all(user, {"me": ("/me", {})})))

    assert isinstance(results["me"], web_api.Unavailable)
    assert "too large" in str(results["me"])
    assert most < MEMORY
    assert large.sent_bytes < 50_000_000


def test_a_session_says_unavailable(user: User, large: LoopbackServer) -> None:
    with pytest.raises(web_api.Unavailable, match="too large"):
        web_api.session_for(user).get("/me")


@pytest.mark.parametrize("size", [None, 1000, 100_000])
def test_a_stream_is_read_up_to_the_limit(
    user: User, large: LoopbackServer, size: int | None
) -> None:
    answer = web_api.session_for(user).get("/me", stream=True)
    got: list[int] = []

    def read() -> None:
        with pytest.raises(web_api.Unavailable, match="too large"):
            got.extend(len(part) for part in answer.iter_content(size))

    assert grown(read) < MEMORY
    assert sum(got) <= LARGEST_ANSWER_BYTES


def test_the_profile_of_a_login_is_no_answer(large: LoopbackServer) -> None:
    failures: list[LoginFailed] = []

    def ask() -> None:
        with pytest.raises(LoginFailed) as failed:
            account_of("an-access-token")
        failures.append(failed.value)

    assert grown(ask) < MEMORY
    assert failures[0].reason == Reason.NO_ANSWER


def test_the_token_endpoint_is_unreadable(large: LoopbackServer) -> None:
    got: list[answers.Answer] = []
    known = transport.of_this_thread()

    most = grown(lambda: got.append(token_endpoint.post({}, known, lifetime=3600)))

    assert got == [answers.Unreadable("answer_too_large")]
    assert most < MEMORY


@pytest.mark.parametrize("stream", [True, False])
def test_a_limit_counts_without_its_words(user: User, settings: Settings, stream: bool) -> None:
    with serving(status=429, headers={"Retry-After": "7"}, body=plain) as server:
        settings.SPOTIFY_API_URL = server.url

        with pytest.raises(web_api.RateLimited) as limited:
            web_api.session_for(user).get("/me", stream=stream)

    assert limited.value.retry_after == 7
    with pytest.raises(web_api.RateLimited):
        pause.check("/v1/me")


def test_the_largest_answer_that_fits_is_read(user: User, settings: Settings) -> None:
    with serving(body=fitting) as server:
        settings.SPOTIFY_API_URL = server.url

        answer = web_api.session_for(user).get("/me").json()

    assert len(answer["account_id"]) == LARGEST_ANSWER_BYTES - 100
