"""A session for one person: a token from the database at each call, and where it may go."""

import io
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, tokens, web_api
from spotify_auth.http_client import BoundedSession
from spotify_auth.models import Cause, SpotifyToken
from spotify_auth.web_api import transport
from tests.support.lanes import refresh_next
from tests.support.listener import Listener
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False, scope=SCOPES)


@pytest.fixture
def other_host() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.mark.parametrize("by", ["user", "primary key"])
def test_calls_as_this_person(user: User, by: str) -> None:
    session = web_api.session_for(user if by == "user" else user.pk)

    answer = session.get("/me/top/artists", params={"limit": 3})

    assert len(answer.json()["items"]) == 3
    assert session.get("/me").json()["account_id"] == user.account_id


def test_follows_whole_addresses_of_the_web_api(user: User) -> None:
    session = web_api.session_for(user)
    first = session.get("/me/top/artists", params={"limit": 1}).json()

    second = session.get(first["next"]).json()

    assert second["offset"] == 1


def test_reads_the_token_at_each_call(user: User, spotify: Sandbox) -> None:
    session = web_api.session_for(user)
    session.get("/me")
    spotify.faults("old_access_token_dies")
    make_due(user)
    refresh_next()

    with CaptureQueriesContext(database) as queries:
        assert session.get("/me").ok

    assert len(queries) == 1
    assert spotify.stats()["totals"]["web_api_unauthorized"] == 0


def test_a_stale_token_is_nudged_and_never_refreshed(user: User, spotify: Sandbox) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(due_at=connections.database_now())

    with pytest.raises(tokens.TokenStale):
        web_api.session_for(user).get("/me")

    assert token_of(user).due_cause == Cause.STALE_READ
    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["web_api_calls"]) == (0, 0)


def test_a_401_reports_the_generation_that_was_used(user: User, spotify: Sandbox) -> None:
    spotify.expire_access_tokens()

    with pytest.raises(web_api.Unauthorized):
        web_api.session_for(user, requested_by="a page").get("/me")

    token = token_of(user)
    assert (token.due_at, token.due_cause) == (token.refreshed_at, Cause.UNAUTHORIZED)
    assert token.asked_by == "a page"
    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["web_api_calls"]) == (0, 1)


def test_a_401_after_a_rotation_repeats_the_call_once(
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

    assert web_api.session_for(user).get("/me").ok

    assert generations == [1, 2]
    assert token_of(user).due_cause == Cause.SCHEDULE  # nobody was nudged


def test_a_token_that_is_refused_after_a_rotation_too_is_reported(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    spotify.faults("web_api_error", status=401, message="Invalid access token")
    read = tokens.access_token_for

    def read_and_be_overtaken(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        token = read(user, **options)
        SpotifyToken.objects.filter(generation=1).update(generation=2)
        return token

    monkeypatch.setattr(tokens, "access_token_for", read_and_be_overtaken)

    with pytest.raises(web_api.Unauthorized):
        web_api.session_for(user).get("/me")

    assert spotify.stats()["totals"]["web_api_calls"] == 2
    assert token_of(user).due_cause == Cause.UNAUTHORIZED


def test_a_body_that_is_used_up_is_not_sent_again(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    spotify.faults("web_api_error", status=401, message="Invalid access token", times=1)
    read = tokens.access_token_for

    def read_and_be_overtaken(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        token = read(user, **options)
        SpotifyToken.objects.filter(generation=1).update(generation=2)
        return token

    monkeypatch.setattr(tokens, "access_token_for", read_and_be_overtaken)

    with pytest.raises(web_api.Unauthorized):
        web_api.session_for(user).get("/me", data=io.BytesIO(b"x"))

    assert spotify.stats()["totals"]["web_api_calls"] == 1


def test_the_repeated_call_has_the_time_that_the_first_one_left(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, deadlines = BoundedSession.send, []

    def watch(
        self: BoundedSession, *args: object, deadline: float, stream: bool
    ) -> requests.Response:
        deadlines.append(deadline)
        SpotifyToken.objects.filter(generation=1).update(generation=2)
        return send(self, *args, deadline=deadline, stream=stream)  # type: ignore[arg-type]

    monkeypatch.setattr(BoundedSession, "send", watch)
    spotify.faults("web_api_error", status=401, message="x", times=1)

    assert web_api.session_for(user).get("/me").ok

    assert len(deadlines) == 2
    assert deadlines[0] == deadlines[1]


def test_a_call_whose_time_is_up_is_not_made(other_host: Listener) -> None:
    request = requests.Request("GET", other_host.url).prepare()

    with (
        BoundedSession(total_seconds=5, proxy="") as session,
        pytest.raises(requests.ConnectTimeout),
    ):
        session.send(request, deadline=time.monotonic() - 1)

    assert other_host.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "{elsewhere}/v1/me",
        "{elsewhere}",
        # what looks like our host is the name of a user, or another port
        "http://{spotify}@{elsewhere_host}/v1/me",
        "http://{spotify}:x@{elsewhere_host}/v1/me",
        "http://{spotify}1/v1/me",
        "http://{spotify_name}/v1/me",
        "http://{elsewhere_host}\\@{spotify}/v1/me",
        "https://{spotify}/v1/me",
        "http:{elsewhere_host}",
    ],
)
def test_the_token_goes_to_no_other_host(
    user: User, spotify: Sandbox, other_host: Listener, address: str
) -> None:
    url = address.format(
        elsewhere=other_host.url,
        elsewhere_host=other_host.url.removeprefix("http://"),
        spotify=spotify.url.removeprefix("http://"),
        spotify_name="127.0.0.1",
    )

    with pytest.raises((web_api.ForeignAddress, requests.exceptions.InvalidURL)):
        web_api.session_for(user).get(url)

    assert other_host.connections == 0


def test_a_path_is_never_taken_for_a_host(
    user: User, spotify: Sandbox, other_host: Listener
) -> None:
    host = other_host.url.removeprefix("http://")

    with pytest.raises(web_api.NotFound):
        web_api.session_for(user).get(f"//{host}/v1/me")

    assert other_host.connections == 0


@pytest.mark.parametrize("follow", [True, False])
def test_a_redirect_is_not_followed(
    user: User, other_host: Listener, settings: Settings, follow: bool
) -> None:
    with Listener(redirect_to=f"{other_host.url}/v1/me") as redirecting:
        settings.SPOTIFY_API_URL = redirecting.url

        with pytest.raises(web_api.Unavailable):
            web_api.session_for(user).get("/me", allow_redirects=follow)

        assert redirecting.connections == 1
    assert other_host.connections == 0


def test_a_token_of_the_callers_own_is_not_sent(user: User, other_host: Listener) -> None:
    # A header, or what a .netrc would do.
    answer = web_api.session_for(user).get("/me", headers={"Authorization": "Bearer other"})

    assert answer.json()["account_id"] == user.account_id


def test_neither_answers_nor_errors_carry_the_token(
    user: User, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = tokens.access_token_for(user).value
    session = web_api.session_for(user)

    answer = session.get("/me")
    spotify.faults("web_api_error", status=503, message="x")
    with pytest.raises(web_api.Unavailable) as caught:
        session.get("/me")

    assert "Authorization" not in answer.request.headers
    assert secret not in repr(vars(session))
    assert secret not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert secret not in caplog.text


def test_a_fresh_answer_can_be_asked_for_conditionally(user: User) -> None:
    session = web_api.session_for(user)
    etag = session.get("/me").headers["ETag"]

    assert session.get("/me", headers={"If-None-Match": etag}).status_code == 304


def test_an_answer_can_be_streamed(user: User) -> None:
    with web_api.session_for(user).get("/me", stream=True) as answer:
        assert b"account_id" in b"".join(answer.iter_content(10))


def test_each_call_has_a_total_deadline(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.4)
    spotify.faults("web_api_latency", seconds=5)

    with pytest.raises(web_api.Unavailable):
        web_api.session_for(user).get("/me", timeout=60)
