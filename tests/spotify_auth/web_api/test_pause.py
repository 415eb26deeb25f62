"""Retry-After: calls fail fast until then, and nobody sleeps. One endpoint, or all of them."""

import logging

import pytest
import redis
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import web_api
from spotify_auth.web_api import pause
from tests.support.processes import wait_for
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

ME, TOP, LISTS = "/me", "/me/top/artists", "/me/playlists"


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False, scope=SCOPES)


def be_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows: what is left is what Redis tells the others."""
    monkeypatch.setattr(pause, "_memory", pause._Memory())


def milliseconds_left(settings: Settings, key: str = pause._ENDPOINTS) -> int:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        return int(client.pttl(key))


def limit(spotify: Sandbox, retry_after: str | None, path: str = "", **more: str) -> None:
    """Answer one call with 429; had anybody called again, that would have succeeded."""
    spotify.faults(
        "web_api_error",
        status=429,
        message="x",
        retry_after=retry_after,
        path=f"/v1{path}",
        times=1,
        **more,
    )


def be_limited(user: User, path: str) -> float:
    """Call, and be refused; for how many seconds."""
    with pytest.raises(web_api.RateLimited) as caught:
        web_api.session_for(user).get(path)
    return caught.value.retry_after


def calls_made(spotify: Sandbox) -> int:
    count: int = spotify.stats()["totals"]["web_api_calls"]
    return count


@pytest.mark.parametrize("known_by", ["this process", "another process"])
def test_a_429_pauses_its_endpoint_for_everybody(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    limited, other = connect("user-1", due=False), connect("user-2", due=False)
    limit(spotify, "100")
    assert be_limited(limited, ME) == 100
    if known_by == "another process":
        be_another_process(monkeypatch)

    assert 0 < be_limited(other, ME) <= 100

    assert calls_made(spotify) == 1
    answers = web_api.get_all(other, {"me": (ME, {}), "top": (TOP, {"limit": 1})})
    assert isinstance(answers["me"], web_api.RateLimited)
    assert isinstance(answers["top"], dict)


@pytest.mark.parametrize("known_by", ["this process", "another process"])
@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_when_a_second_endpoint_says_so_too_all_pause(
    user: User,
    spotify: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    known_by: str,
    redis_is: str,
) -> None:
    if redis_is == "away":
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    limit(spotify, "300", TOP)
    limit(spotify, "100", LISTS)
    be_limited(user, TOP)
    assert web_api.session_for(user).get(ME).ok
    assert be_limited(user, LISTS) == 100
    if known_by == "another process":
        be_another_process(monkeypatch)
        if redis_is == "away":  # which nobody could tell the other
            assert web_api.session_for(user).get(ME).ok
            return

    assert 90 < be_limited(user, ME) <= 100  # as long as both say so
    assert 290 < be_limited(user, TOP) <= 300
    assert calls_made(spotify) == 3


def test_two_processes_that_each_know_one_endpoint_pause_all(
    user: User, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(spotify, "300", TOP)
    limit(spotify, "300", LISTS)
    be_limited(user, TOP)
    be_another_process(monkeypatch)
    pause._memory.look_at += 1e12  # it has not looked
    be_limited(user, LISTS)

    assert be_limited(user, ME) > 290


def test_the_same_endpoint_twice_is_one(user: User, spotify: Sandbox) -> None:
    pause.start("/v1/playlists/*", 300)
    pause.start("/v1/playlists/*", 400)

    assert web_api.session_for(user).get(ME).ok


def test_an_endpoint_whose_pause_is_over_counts_no_more(
    user: User, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause.start("/v1/me/top/artists", 300)
    time_passes(settings, monkeypatch, 301)

    pause.start("/v1/me/playlists", 300)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.zrange(pause._ENDPOINTS, 0, -1) == [b"/v1/me/playlists"]
    assert web_api.session_for(user).get(TOP).ok
    assert web_api.session_for(user).get(ME).ok


def test_two_endpoints_that_are_gone_do_not_stop_the_others_for_long(
    user: User, spotify: Sandbox, settings: Settings
) -> None:
    pause.start("/v1/recommendations", 48_925)
    pause.start("/v1/audio-features", 48_925)

    assert 0 < be_limited(user, ME) <= pause.LONGEST_TOGETHER_SECONDS
    assert 0 < milliseconds_left(settings, pause._ALL) <= pause.LONGEST_TOGETHER_SECONDS * 1000
    assert calls_made(spotify) == 0


@pytest.mark.parametrize(("retry_after", "seconds"), [("48925", 48_925), (None, 900)])
def test_a_spent_quota_pauses_all_at_once(
    user: User,
    spotify: Sandbox,
    caplog: pytest.LogCaptureFixture,
    retry_after: str | None,
    seconds: int,
) -> None:
    caplog.set_level(logging.WARNING)
    limit(spotify, retry_after, reason="QUOTA_EXCEEDED")
    assert be_limited(user, TOP) == seconds

    assert seconds - 10 < be_limited(user, ME) <= seconds

    assert calls_made(spotify) == 1
    assert f"web_api_paused_for_all seconds={seconds} reason=quota_exceeded" in caplog.text


def test_the_pause_of_an_endpoint_ends_when_redis_says_so(
    user: User, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "LOOK_SECONDS", 0)
    limit(spotify, "100")
    be_limited(user, ME)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(pause._ENDPOINTS)  # as it does itself when the time is over

    assert web_api.session_for(user).get(ME).ok


def test_the_pause_of_all_ends_when_redis_says_so(
    user: User, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "LOOK_SECONDS", 0)
    pause.start("/v1/x", 100, quota=True)
    be_limited(user, ME)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(pause._ALL)

    assert web_api.session_for(user).get(ME).ok


def time_passes(settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the ends of the endpoints' pauses back, and forget what this process knows."""
    be_another_process(monkeypatch)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for name, _ in client.zrange(pause._ENDPOINTS, 0, -1, withscores=True):
            client.zincrby(pause._ENDPOINTS, -seconds * 1000, name)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7),
        ("81654", 81_654),  # seen in real life
        ("0", 1),  # seen as well
        (None, 30),
        ("soon", 30),
        ("999999999", 86_400),
    ],
)
def test_the_length_of_the_pause(
    user: User, spotify: Sandbox, settings: Settings, retry_after: str | None, seconds: int
) -> None:
    limit(spotify, retry_after)

    assert be_limited(user, ME) == seconds

    left = milliseconds_left(settings)
    assert left <= seconds * 1000
    assert left > 0 or seconds == 1  # a second may be over by now


@pytest.mark.parametrize(("key", "quota"), [(pause._ENDPOINTS, False), (pause._ALL, True)])
def test_a_shorter_pause_does_not_shorten_a_longer_one(
    no_cooldown: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, key: str, quota: bool
) -> None:
    pause.start("/v1/me", 500, quota=quota)
    be_another_process(monkeypatch)
    pause.start("/v1/me", 5, quota=quota)

    assert milliseconds_left(settings, key) > 490_000
    be_another_process(monkeypatch)
    with pytest.raises(web_api.RateLimited) as caught:
        pause.check("/v1/me")
    assert caught.value.retry_after > 490


def test_a_process_asks_redis_once_a_second_and_not_at_each_call(
    user: User, spotify: Sandbox, settings: Settings
) -> None:
    session = web_api.session_for(user)
    session.get("/me")
    pause._memory.look_at += 3600  # a second that does not end
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.set(pause._ALL, "1", px=60_000)

    for _ in range(5):
        assert session.get("/me").ok

    pause._memory.look_at -= 3600  # and then it does
    wait_for(is_paused, what="the process to look")


def test_without_redis_calls_go_on_and_the_process_knows_of_its_own_429(
    user: User, spotify: Sandbox, settings: Settings
) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    session = web_api.session_for(user)
    assert session.get("/me").ok
    limit(spotify, "100")
    be_limited(user, ME)

    be_limited(user, ME)

    assert calls_made(spotify) == 2
    assert session.get(TOP).ok


def is_paused() -> bool:
    try:
        pause.check("/v1/me")
    except web_api.RateLimited:
        return True
    return False
