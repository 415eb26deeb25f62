"""`async with async_session_for(user)`: what `session_for` promises, in an event loop."""

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import httpx2
import psutil
import pytest
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, tokens, web_api
from spotify_auth.models import Cause, SpotifyToken
from spotify_auth.web_api import pause, transport
from tests.support.asynchronous import run_async
from tests.support.lanes import refresh_next
from tests.support.listener import Listener
from tests.support.processes import wait_for
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.servers import serving, speaking
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db

Session = Any


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False, scope=SCOPES)


@pytest.fixture
def other_host() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def within(
    user: User, act: Callable[[Session], Awaitable[Any]], *, library: ModuleType | None = None
) -> Any:
    """What is done in one session of a user."""

    async def run() -> Any:
        async with web_api.async_session_for(
            user, requested_by="a page", library=library
        ) as session:
            return await act(session)

    return run_async(run)


def get(user: User, address: str, **options: Any) -> Any:
    return within(user, lambda session: session.get(address, **options))


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_calls_as_this_user_and_follows_whole_addresses(user: User, library: ModuleType) -> None:
    async def act(session: Session) -> list[Any]:
        me, first = await asyncio.gather(
            session.get("/me"), session.get("/me/top/artists", params={"limit": 1})
        )
        second = await session.get(first.json()["next"])
        return [me.json()["account_id"], second.json()["offset"]]

    assert within(user, act, library=library) == [user.account_id, 1]


def test_nothing_playing_is_none(connect: Connect) -> None:
    newcomer = connect("newcomer", due=False, scope="user-read-currently-playing")

    assert get(newcomer, "/me/player/currently-playing").json() is None


def test_the_token_goes_to_no_other_host(user: User, other_host: Listener) -> None:
    with pytest.raises(web_api.ForeignAddress):
        get(user, f"{other_host.url}/v1/me")

    assert other_host.connections == 0


def test_a_stale_token_is_nudged_and_nothing_is_sent(user: User, spotify: Sandbox) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(due_at=connections.database_now())

    with pytest.raises(tokens.TokenStale):
        get(user, "/me")

    assert (token_of(user).due_cause, token_of(user).asked_by) == (Cause.STALE_READ, "a page")
    assert spotify.stats()["totals"]["web_api_calls"] == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 401, "message": "x"}, web_api.Unauthorized),
        ({"status": 403, "message": "Insufficient client scope"}, web_api.InsufficientScope),
        ({"status": 404, "message": "x"}, web_api.NotFound),
        ({"status": 400, "message": "x"}, web_api.BadRequest),
        ({"status": 429, "message": "x", "retry_after": "9"}, web_api.RateLimited),
        ({"status": 500, "message": "x"}, web_api.Unavailable),
    ],
)
def test_errors_are_those_of_a_session(
    user: User, spotify: Sandbox, fault: dict[str, object], error: type[Exception]
) -> None:
    spotify.faults("web_api_error", **fault)

    with pytest.raises(error) as caught:
        get(user, "/me")

    value = SpotifyToken.objects.get(pk=user.pk).access_token
    assert value
    assert value not in repr(caught.value)


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (429, b"Too many requests", web_api.RateLimited),
        (403, b"User not registered in the Developer Dashboard", web_api.NotAllowed),
        (502, b"<html>Bad Gateway</html>", web_api.Unavailable),
    ],
)
def test_errors_in_bare_words_are_the_same(
    user: User, settings: Settings, status: int, words: bytes, error: type[Exception]
) -> None:
    with serving(status=status, headers={"Retry-After": "9"}, body=lambda: iter([words])) as server:
        settings.SPOTIFY_API_URL = server.url
        with pytest.raises(error):
            get(user, "/me")

    assert bool(pause._memory.endpoints) is (status == 429)


def test_a_429_pauses_the_endpoint_and_no_other(user: User, spotify: Sandbox) -> None:
    spotify.faults("web_api_error", status=429, message="x", retry_after="90", path="/v1/me/top")

    async def tried(session: Session, path: str) -> Any:
        try:
            return await session.get(path)
        except web_api.WebApiError as error:
            return error

    async def act(session: Session) -> list[Any]:
        asked = ["/me/top/artists", "/me/top/artists", "/me"]
        return [await tried(session, path) for path in asked]

    first, second, other = within(user, act)

    assert isinstance(first, web_api.RateLimited)
    assert isinstance(second, web_api.RateLimited)
    assert 60 < second.retry_after <= 90
    assert other.status_code == 200
    assert spotify.stats()["totals"]["web_api_calls"] == 2  # the second was not sent
    with pytest.raises(web_api.RateLimited):
        web_api.session_for(user).get("/me/top/artists")  # one pause for both kinds


def test_the_budget_counts_a_call_once(user: User, settings: Settings) -> None:
    settings.RATE_LIMIT_WEB_API_CALLS = 2

    async def act(session: Session) -> list[int]:
        return [(await session.get("/me")).status_code for _ in range(2)]

    assert within(user, act) == [200, 200]
    with pytest.raises(web_api.RateLimited):
        get(user, "/me")


def test_a_rotation_under_the_session_repeats_the_call_once(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    spotify.faults("old_access_token_dies")
    make_due(user)
    read = tokens.access_token_for
    generations = []

    def read_and_be_overtaken(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        token = read(user, **options)
        generations.append(token.generation)
        refresh_next()  # a lane is faster than this call
        return token

    monkeypatch.setattr(tokens, "access_token_for", read_and_be_overtaken)

    assert get(user, "/me").status_code == 200
    assert generations == [1, 2]
    assert token_of(user).due_cause == Cause.SCHEDULE  # nobody was nudged


def test_a_call_has_a_deadline_and_leaves_no_connection(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    spotify.faults("web_api_latency", seconds=30)
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.3)
    before = _connections(spotify)

    with pytest.raises(web_api.Unavailable):
        get(user, "/me")

    wait_for(lambda: _connections(spotify) <= before, what="the connection to end")


def test_an_answer_that_trickles_has_the_deadline_too(
    user: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_all = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Slow: ")
        for _ in range(200):  # none of them late, and all together much later than the deadline
            connection.sendall(b"a")
            time.sleep(0.1)
        sent_all.set()
        connection.sendall(b"\r\n\r\n{}")

    monkeypatch.setattr(transport, "CALL_SECONDS", 0.5)
    with speaking(talk) as port:
        settings.SPOTIFY_API_URL = f"http://127.0.0.1:{port}"
        with pytest.raises(web_api.Unavailable):
            get(user, "/me")
        assert not sent_all.is_set()


def test_a_call_that_is_cancelled_leaves_no_connection(user: User, spotify: Sandbox) -> None:
    spotify.faults("web_api_latency", seconds=30)
    before = _connections(spotify)

    async def act(session: Session) -> None:
        call = asyncio.create_task(session.get("/me"))
        while _connections(spotify) <= before:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    within(user, act)

    wait_for(lambda: _connections(spotify) <= before, what="the connection to end")


@pytest.mark.parametrize("status", [200, 429])
def test_an_answer_that_is_too_large_is_read_no_further(
    user: User, settings: Settings, status: int
) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"a" * 100_000

    with serving(status=status, headers={"Retry-After": "9"}, body=body) as server:
        settings.SPOTIFY_API_URL = server.url
        with pytest.raises(web_api.Unavailable if status == 200 else web_api.RateLimited):
            get(user, "/me")

    assert server.sent_bytes < 50_000_000
    assert bool(pause._memory.endpoints) is (status == 429)


def test_no_line_of_the_log_and_no_answer_has_the_token(
    user: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    answer = get(user, "/me")

    value = token_of(user).access_token
    assert value
    assert "HTTP Request: GET" in caplog.text
    assert value not in caplog.text
    assert "Authorization" not in answer.request.headers


def test_without_either_library_it_says_what_to_install(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("httpx", "httpx2"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ImportError, match="pip install httpx"):
        web_api.async_session_for(user)


def _connections(spotify: Sandbox) -> int:
    port = int(spotify.url.rpartition(":")[2])
    return sum(
        bool(each.raddr) and each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED
        for each in psutil.Process().net_connections()
    )
