"""Each client library calls the Web API with a token that it neither keeps nor refreshes."""

import io
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import httpx2
import pytest
import requests
import spotipy
import tekore
from spotipy.oauth2 import SpotifyOAuth

from accounts.models import User
from spotify_auth import connections, tokens, web_api
from spotify_auth.contrib import spotipy as spotipy_bridge
from spotify_auth.contrib import tekore as tekore_bridge
from spotify_auth.contrib.httpx import auth_for
from spotify_auth.contrib.requests_auth import SpotifyAuth
from spotify_auth.contrib.spotipy import KeeperCacheHandler
from spotify_auth.models import Cause, SpotifyToken, TokenEvent
from tests.support.asynchronous import run_async
from tests.support.hosts import Handler, serving
from tests.support.lanes import refresh_next
from tests.support.listener import Listener
from tests.support.sandbox_client import REDIRECT_URI, SCOPES, Sandbox
from tests.support.tokens import Connect, ago, make_due, token_of

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)

Call = Callable[[User, str], "requests.Response | httpx.Response"]
"""GET an address as a user."""


def by_requests(user: User, address: str) -> requests.Response:
    auth = SpotifyAuth(user, requested_by="a page")
    return requests.get(address, auth=auth, timeout=10)


def by_client(library: Any) -> Call:
    def call(user: User, address: str) -> httpx.Response:
        auth = auth_for(library, user, requested_by="a page")
        with library.Client(auth=auth, trust_env=False, follow_redirects=True) as client:
            answer: httpx.Response = client.get(address)
            return answer

    return call


def by_async_client(library: Any) -> Call:
    async def get(user: User, address: str) -> httpx.Response:
        auth = auth_for(library, user, requested_by="a page")
        options = {"auth": auth, "trust_env": False, "follow_redirects": True}
        async with library.AsyncClient(**options) as client:
            answer: httpx.Response = await client.get(address)
            return answer

    return lambda user, address: run_async(get, user, address)


CALLS: dict[str, Call] = {
    "requests": by_requests,
    "httpx": by_client(httpx),
    "httpx2": by_client(httpx2),
    "httpx async": by_async_client(httpx),
    "httpx2 async": by_async_client(httpx2),
}


@pytest.fixture(params=list(CALLS))
def call(request: pytest.FixtureRequest) -> Call:
    return CALLS[request.param]


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False, scope=SCOPES)


@pytest.fixture
def overtaken(user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A lane is faster than each call, and kills the access token that was read."""
    spotify.faults("old_access_token_dies")
    make_due(user)
    read = tokens.access_token_for
    generations: list[int] = []

    def read_and_be_overtaken(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        token = read(user, **options)
        generations.append(token.generation)
        refresh_next()
        return token

    monkeypatch.setattr(tokens, "access_token_for", read_and_be_overtaken)
    return generations


@pytest.fixture
def overtaken_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each first call finds a newer generation when it looks again."""
    read = tokens.access_token_for

    def read_and_be_overtaken(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        token = read(user, **options)
        SpotifyToken.objects.filter(generation=1).update(generation=2)
        return token

    monkeypatch.setattr(tokens, "access_token_for", read_and_be_overtaken)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str | None]]]:
    """A host that answers 401: its address, and the Authorization of each request."""
    seen: list[str | None] = []

    class Answers(Handler):
        def do_GET(self) -> None:  # noqa: N802  (as the base class wants it)
            seen.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Answers) as port:
        yield f"http://127.0.0.1:{port}", seen


@pytest.fixture
def moved() -> Iterator[tuple[str, list[str | None]]]:
    """A host whose /old has moved to /new: its address, and the Authorization of each request."""
    seen: list[str | None] = []

    class Answers(Handler):
        def do_GET(self) -> None:  # noqa: N802  (as the base class wants it)
            seen.append(self.headers.get("Authorization"))
            self.send_response(302 if self.path == "/old" else 200)
            self.send_header("Location", "/new")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Answers) as port:
        yield f"http://127.0.0.1:{port}", seen


def test_a_redirected_call_keeps_no_token(
    call: Call, user: User, moved: tuple[str, list[str | None]], settings: Any
) -> None:
    address, seen = moved
    settings.SPOTIFY_API_URL = address
    token = token_of(user).access_token or ""

    answer = call(user, f"{address}/old")

    assert (answer.status_code, len(answer.history)) == (200, 1)
    assert seen == [f"Bearer {token}"] * 2
    for each in (answer, *answer.history):
        assert "Authorization" not in each.request.headers
    assert token.encode() not in pickle.dumps(answer)  # as a cache would store it


def test_a_redirect_that_is_not_followed_has_no_token(
    user: User, moved: tuple[str, list[str | None]], settings: Any
) -> None:
    address, _ = moved
    settings.SPOTIFY_API_URL = address
    with httpx.Client(auth=auth_for(httpx, user), trust_env=False) as client:
        answer = client.get(f"{address}/old")

    assert answer.next_request
    assert "Authorization" not in answer.next_request.headers


def test_a_call_is_made_as_this_user_and_keeps_no_token(
    call: Call, user: User, spotify: Sandbox
) -> None:
    answer = call(user, f"{spotify.url}/v1/me")

    assert answer.json()["account_id"] == user.account_id
    assert "Authorization" not in answer.request.headers


def test_a_call_that_a_rotation_overtakes_is_repeated_once(
    call: Call, user: User, spotify: Sandbox, overtaken: list[int]
) -> None:
    answer = call(user, f"{spotify.url}/v1/me")

    assert answer.status_code == 200
    assert overtaken == [1, 2]
    assert len(answer.history) == 1
    assert token_of(user).due_cause == Cause.SCHEDULE  # nobody was nudged
    for each in (answer, *answer.history):
        assert "Authorization" not in each.request.headers


def test_a_token_that_is_refused_over_and_over_is_reported(
    call: Call, user: User, spotify: Sandbox, overtaken_on_paper: None
) -> None:
    spotify.faults("web_api_error", status=401, message="Invalid access token")

    assert call(user, f"{spotify.url}/v1/me").status_code == 401

    assert spotify.stats()["totals"]["web_api_calls"] == 2
    token = token_of(user)
    assert (token.generation, token.due_cause, token.asked_by) == (2, "unauthorized", "a page")


def test_a_stale_token_is_nudged_and_never_refreshed(
    call: Call, user: User, spotify: Sandbox
) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(due_at=connections.database_now())

    with pytest.raises(tokens.TokenStale):
        call(user, f"{spotify.url}/v1/me")

    assert token_of(user).due_cause == Cause.STALE_READ
    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["web_api_calls"]) == (0, 0)


def test_another_host_is_asked_for_nothing(call: Call, user: User, spotify: Sandbox) -> None:
    spotify_host = spotify.url.removeprefix("http://")
    with Listener() as other:
        other_host = other.url.removeprefix("http://")
        for address in (other.url, f"http://{spotify_host}@{other_host}/v1/me"):
            with pytest.raises(web_api.ForeignAddress):
                call(user, address)

    assert other.connections == 0


def test_a_redirect_takes_no_token_to_another_host(
    call: Call,
    user: User,
    elsewhere: tuple[str, list[str | None]],
    overtaken_on_paper: None,
    settings: Any,
) -> None:
    address, seen = elsewhere
    with Listener(redirect_to=f"{address}/v1/me") as redirecting:
        settings.SPOTIFY_API_URL = redirecting.url

        call(user, f"{redirecting.url}/v1/me")

    assert not any(seen)  # neither at first nor again, though the answer was 401


def test_a_body_that_is_used_up_is_not_sent_again(
    user: User, spotify: Sandbox, overtaken: list[int]
) -> None:
    body = io.BytesIO(b"x")
    answer = requests.get(f"{spotify.url}/v1/me", data=body, auth=SpotifyAuth(user), timeout=10)

    assert answer.status_code == 401
    assert spotify.stats()["totals"]["web_api_calls"] == 1


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_body_that_comes_in_pieces_is_sent_again(
    library: Any, user: User, spotify: Sandbox, overtaken: list[int]
) -> None:
    parts = (part for part in (b"x", b"y"))
    with library.Client(auth=auth_for(library, user), trust_env=False) as client:
        answer = client.request("GET", f"{spotify.url}/v1/me", content=parts)

    assert answer.status_code == 200
    assert spotify.stats()["totals"]["web_api_calls"] == 2


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_body_that_comes_in_pieces_is_sent_again_asynchronously(
    library: Any, user: User, spotify: Sandbox, overtaken: list[int]
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        yield b"y"

    async def send() -> int:
        auth = auth_for(library, user)
        async with library.AsyncClient(auth=auth, trust_env=False) as client:
            answer = await client.request("GET", f"{spotify.url}/v1/me", content=parts())
            status: int = answer.status_code
            return status

    assert run_async(send) == 200
    assert spotify.stats()["totals"]["web_api_calls"] == 2


# spotipy


def test_spotipy_calls_as_this_user_and_follows_pages(
    user: User, spotify: Sandbox, overtaken: list[int]
) -> None:
    client = spotipy_bridge.client_for(user)

    assert client.current_user()["account_id"] == user.account_id
    first = client.current_user_top_artists(limit=1)
    assert client.next(first)["offset"] == 1


def test_errors_of_spotipy_are_those_that_pages_answer(user: User, spotify: Sandbox) -> None:
    client = spotipy_bridge.client_for(user)
    spotify.faults("web_api_error", status=403, message="Insufficient client scope")

    with pytest.raises(web_api.InsufficientScope):
        client.current_user()


def test_what_spotipy_cannot_read_is_its_own_error(user: User, spotify: Sandbox) -> None:
    with pytest.raises(spotipy.SpotifyException):
        spotipy_bridge.client_for(user).track("no id")

    assert spotify.stats()["totals"]["web_api_calls"] == 0


def oauth_of(user: User, spotify: Sandbox, *, scope: str) -> SpotifyOAuth:
    oauth = SpotifyOAuth(
        spotify.client_id,
        spotify.client_secret,
        REDIRECT_URI,
        scope=scope,
        cache_handler=KeeperCacheHandler(user, scope=scope),
    )
    oauth.OAUTH_TOKEN_URL = f"{spotify.url}/api/token"
    return oauth


def code_of(spotify: Sandbox, *, scope: str) -> str:
    query = {
        "client_id": spotify.client_id,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": scope,
    }
    return spotify.authorize(query, "user-1").partition("code=")[2]


def test_a_login_by_spotipy_is_taken_over(user: User, spotify: Sandbox) -> None:
    connections.disconnect(user_id=user.pk)
    SpotifyToken.objects.update(closed_at=ago(1))
    oauth = oauth_of(user, spotify, scope=SCOPES)

    access_token = oauth.get_access_token(
        code_of(spotify, scope=SCOPES), as_dict=False, check_cache=False
    )

    token = token_of(user)
    assert (token.status, token.access_token) == ("active", access_token)
    assert TokenEvent.objects.latest("id").cause == Cause.LOGIN
    assert oauth.get_access_token(as_dict=False) == access_token
    assert oauth.cache_handler.get_cached_token()["refresh_token"] is None
    make_due(user)
    refresh_next()
    client = spotipy.Spotify(auth_manager=oauth)
    client.prefix = f"{spotify.url}/v1/"
    assert client.current_user()["account_id"] == user.account_id


def test_what_a_login_by_spotipy_gives_back_has_no_refresh_token(
    user: User, spotify: Sandbox
) -> None:
    oauth = oauth_of(user, spotify, scope=SCOPES)

    with pytest.warns(DeprecationWarning, match="as_dict"):
        info = oauth.get_access_token(code_of(spotify, scope=SCOPES), check_cache=False)

    assert info["refresh_token"] is None


def test_spotipy_never_refreshes_what_it_takes_for_expired(user: User, spotify: Sandbox) -> None:
    oauth = oauth_of(user, spotify, scope=SCOPES)
    soon = connections.database_now() + spotipy_bridge.LIFE_THAT_SPOTIPY_WANTS * SECOND
    SpotifyToken.objects.update(expires_at=soon, due_at=connections.database_now() + 9 * SECOND)

    with pytest.raises(tokens.TokenStale):
        oauth.get_access_token(as_dict=False)
    assert token_of(user).due_cause == Cause.STALE_READ

    SpotifyToken.objects.update(expires_at=soon + 5 * SECOND)
    assert oauth.get_access_token(as_dict=False)
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def test_a_clock_that_is_ahead_lets_spotipy_refresh_nothing(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    oauth = oauth_of(user, spotify, scope=SCOPES)
    SpotifyToken.objects.update(expires_at=connections.database_now() + 70 * SECOND)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 30)  # 40 s are left by it

    assert oauth.get_access_token(as_dict=False) == token_of(user).access_token
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def test_spotipy_asks_nobody_on_the_terminal(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("it asked"))
    with pytest.raises(web_api.InsufficientScope):
        oauth_of(user, spotify, scope="playlist-modify-public").get_access_token(as_dict=False)
    connections.disconnect(user_id=user.pk)

    with pytest.raises(tokens.NotConnected):
        oauth_of(user, spotify, scope=SCOPES).get_access_token(as_dict=False)


# tekore


@pytest.fixture
def tekore_at(spotify: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tekore ask the sandbox; it has no setting for that."""
    monkeypatch.setattr("tekore._client.base.prefix", f"{spotify.url}/v1/")


@pytest.mark.usefixtures("tekore_at")
def test_tekore_calls_as_this_user(user: User, overtaken: list[int]) -> None:
    client = tekore_bridge.client_for(user)

    assert client.current_user().id
    assert overtaken == [1, 2]
    client.close()


@pytest.mark.usefixtures("tekore_at")
def test_tekore_calls_asynchronously(user: User, overtaken: list[int]) -> None:
    async def profile() -> Any:
        client = tekore_bridge.client_for(user, asynchronous=True)
        try:
            return await client.current_user()
        finally:
            await client.close()

    assert run_async(profile).id
    assert overtaken == [1, 2]


@pytest.mark.usefixtures("tekore_at")
def test_errors_of_tekore_are_its_own(user: User, spotify: Sandbox) -> None:
    client = tekore_bridge.client_for(user)
    spotify.faults("web_api_error", status=403, message="Insufficient client scope")

    with pytest.raises(tekore.Forbidden):
        client.current_user()
    client.close()
