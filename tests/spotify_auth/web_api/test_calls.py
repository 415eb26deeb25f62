"""Calls to the Web API: one token read, typed errors, and what a 401 leads to."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.dashboard import CALLS
from spotify_auth import tokens, web_api
from spotify_auth.conf import DEFAULTS
from spotify_auth.models import Cause
from spotify_auth.web_api import calls, reading, transport
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect, Elsewhere, make_due, token_of

pytestmark = pytest.mark.django_db

ME: dict[str, tuple[str, dict[str, str | int]]] = {"profile": ("/me", {})}


def test_fetches_several_resources_from_one_token_read(connect: Connect) -> None:
    user = connect(due=False)

    with CaptureQueriesContext(database) as queries:
        answers = web_api.get_all(user.pk, {**ME, "top": ("/me/top/artists", {"limit": 1})})

    assert len(queries) == 1
    assert answers["profile"]["account_id"] == user.account_id  # type: ignore[index]
    assert len(answers["top"]["items"]) == 1  # type: ignore[index]


def test_nothing_playing_is_none(connect: Connect) -> None:
    user = connect("newcomer", due=False, scope="user-read-currently-playing")

    assert web_api.get_all(user.pk, {"now": CALLS["now_playing"]}) == {"now": None}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 403, "message": "Insufficient client scope"}, web_api.InsufficientScope),
        (
            {"status": 403, "message": "User not registered in the Developer Dashboard"},
            web_api.NotAllowed,
        ),
        ({"status": 404, "message": "Not found"}, web_api.NotFound),
        ({"status": 429, "message": "API rate limit exceeded"}, web_api.RateLimited),
        ({"status": 500, "message": "x"}, web_api.Unavailable),
        ({"status": 503, "message": "x"}, web_api.Unavailable),
    ],
)
def test_errors_are_typed_and_spare_the_other_calls(
    connect: Connect, spotify: Sandbox, fault: dict[str, object], error: type
) -> None:
    user = connect(due=False)
    spotify.faults("web_api_error", path="/v1/me/top", **fault)
    # Both are on their way: after a 429, one that was sent later would fail at once.
    spotify.faults("web_api_together", calls=2)

    answers = web_api.get_all(user.pk, {**ME, "top": CALLS["top_artists"]})

    assert isinstance(answers["top"], error)
    assert isinstance(answers["profile"], dict)


def test_a_missing_scope_is_told_apart(connect: Connect) -> None:
    user = connect(due=False)  # granted user-top-read only

    answers = web_api.get_all(user.pk, {"recent": CALLS["recently_played"]})

    assert isinstance(answers["recent"], web_api.InsufficientScope)


def test_a_stale_token_is_nudged_and_not_refreshed(connect: Connect, spotify: Sandbox) -> None:
    user = connect(due=False)
    make_due(user, expired=True)

    with pytest.raises(tokens.TokenStale):
        web_api.get_all(user.pk, ME)

    assert spotify.stats()["totals"]["refreshes_attempted"] == 0
    token = token_of(user)
    assert (token.due_at, token.due_cause) == (token.refreshed_at, Cause.STALE_READ)


def test_an_unexpected_401_is_nudged_and_not_refreshed(connect: Connect, spotify: Sandbox) -> None:
    user = connect(due=False)
    spotify.expire_access_tokens("user-1")

    answers = web_api.get_all(user.pk, ME)

    assert isinstance(answers["profile"], web_api.Unauthorized)
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0
    assert token_of(user).due_cause == Cause.UNAUTHORIZED
    refresh_next()
    assert isinstance(web_api.get_all(user.pk, ME)["profile"], dict)


def test_a_401_after_a_rotation_repeats_the_call_once_with_the_new_token(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    spotify.faults("old_access_token_dies")
    read = tokens.access_token_for
    tokens_read = []

    def read_and_be_overtaken(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        token = read(user, **options)
        tokens_read.append(token.generation)
        refresh_next()  # a lane is faster than this page
        return token

    monkeypatch.setattr(tokens, "access_token_for", read_and_be_overtaken)

    answers = web_api.get_all(user.pk, ME)

    assert isinstance(answers["profile"], dict)
    assert tokens_read == [1, 2]
    assert token_of(user).due_cause == Cause.SCHEDULE  # nobody was nudged


def test_an_error_carries_nothing_of_the_request(connect: Connect, spotify: Sandbox) -> None:
    user = connect(due=False)
    token = tokens.access_token_for(user.pk)
    spotify.faults("web_api_error", status=503, message="x")

    with pytest.raises(web_api.Unavailable) as caught:
        web_api.get(token.value, "/me")

    assert caught.value.__cause__ is None
    assert token.value not in str(caught.value)


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_rotation_that_is_about_to_commit_is_waited_for(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    user = connect()
    spotify.expire_access_tokens()
    reads = be_refreshed_at(at, monkeypatch)

    answers = web_api.get_all(user.pk, ME)

    assert isinstance(answers["profile"], dict)
    assert len(reads) == at
    assert token_of(user).due_cause == Cause.SCHEDULE  # nobody was nudged


def test_waiting_for_a_rotation_is_bounded(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect(due=False)
    spotify.expire_access_tokens()
    reads = be_refreshed_at(0, monkeypatch)
    begun = now = time.monotonic()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))

    answers = web_api.get_all(user.pk, {**ME, "top": CALLS["top_artists"]})

    assert isinstance(answers["profile"], web_api.Unauthorized)
    assert len(reads) == 4
    assert reading.READ_AGAIN_SECONDS[-1] < 0.7
    assert now - begun == pytest.approx(reading.READ_AGAIN_SECONDS[-1])
    assert token_of(user).due_cause == Cause.UNAUTHORIZED
    assert spotify.stats()["totals"]["web_api_calls"] == 2


def test_a_page_whose_time_is_up_does_not_wait_for_a_rotation(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect(due=False)
    token = tokens.access_token_for(user)
    reads = be_refreshed_at(0, monkeypatch)

    deadline = time.monotonic() + 0.1
    assert reading.after_unauthorized(user, token, deadline=deadline) is None

    assert len(reads) == 1
    assert token_of(user).due_cause == Cause.UNAUTHORIZED


def be_refreshed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a lane commit just before this read of the token, counted from 1; the reads so far."""
    read = tokens.access_token_for
    reads: list[int] = []

    def read_in_time(user: tokens.UserOrId, **options: Any) -> tokens.AccessToken:
        reads.append(len(reads))
        if len(reads) == number:
            refresh_next()
        return read(user, **options)

    monkeypatch.setattr(tokens, "access_token_for", read_in_time)
    return reads


def test_waiting_for_a_thread_counts(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect(due=False)
    settings.WEB_THREADS = 1
    monkeypatch.setattr(calls, "CALLS_OF_A_PAGE", 1)
    monkeypatch.setattr(transport, "CALL_SECONDS", 1.5)
    spotify.faults("web_api_latency", seconds=60, path="/v1/me/top")
    late = dict.fromkeys("abc", CALLS["top_artists"])

    answers = web_api.get_all(user, {**ME, **late})

    assert [type(answer) for answer in answers.values()] == [dict, *[web_api.Unavailable] * 3]
    # The first of the late ones took all the time: none was left for the others to be sent.
    assert spotify.stats()["totals"]["web_api_calls"] == 2


@pytest.mark.django_db(transaction=True)
def test_each_thread_of_the_web_server_makes_its_calls_at_once(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CALL_SECONDS", 60.0)
    user = connect(due=False, scope=SCOPES)
    assert len(CALLS) == calls.CALLS_OF_A_PAGE
    # None is answered before the last has arrived: one that waits for another would be too late.
    spotify.faults("web_api_together", calls=DEFAULTS["WEB_THREADS"] * len(CALLS))

    pages = [elsewhere(web_api.get_all, user.pk, CALLS) for _ in range(DEFAULTS["WEB_THREADS"])]

    for page in pages:
        answers = page.result()
        assert {type(answer) for answer in answers.values()} == {dict}  # type: ignore[attr-defined]
