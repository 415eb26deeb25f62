"""Retry-After: all calls of the application fail fast until then, and nobody sleeps."""

import pytest
import redis
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import web_api
from spotify_auth.web_api import pause
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db


def be_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows: what is left is what Redis tells the others."""
    monkeypatch.setattr(pause, "_memory", pause._Memory())


def milliseconds_left(settings: Settings) -> int:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        return int(client.pttl(pause._KEY))


def limit(spotify: Sandbox, retry_after: str | None) -> None:
    """Answer one call with 429; had anybody called again, that would have succeeded."""
    spotify.faults("web_api_error", status=429, message="x", retry_after=retry_after, times=1)


def calls_made(spotify: Sandbox) -> int:
    count: int = spotify.stats()["totals"]["web_api_calls"]
    return count


@pytest.mark.parametrize("known_by", ["this process", "another process"])
def test_after_a_429_no_call_is_made_for_anybody(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    limited, other = connect("user-1", due=False), connect("user-2", due=False)
    limit(spotify, "100")
    with pytest.raises(web_api.RateLimited) as first:
        web_api.session_for(limited).get("/me")
    assert first.value.retry_after == 100
    if known_by == "another process":
        be_another_process(monkeypatch)

    with pytest.raises(web_api.RateLimited) as second:
        web_api.session_for(other).get("/me")

    assert 0 < second.value.retry_after <= 100
    answers = web_api.get_all(other, {"me": ("/me", {}), "top": ("/me/top/artists", {})})
    assert {type(answer) for answer in answers.values()} == {web_api.RateLimited}
    assert calls_made(spotify) == 1


def test_the_pause_ends_when_redis_says_so(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect(due=False)
    monkeypatch.setattr(pause, "LOOK_SECONDS", 0)
    limit(spotify, "100")
    with pytest.raises(web_api.RateLimited):
        web_api.session_for(user).get("/me")

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(pause._KEY)  # as it does itself when the time is over

    assert web_api.session_for(user).get("/me").ok


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
    connect: Connect, spotify: Sandbox, settings: Settings, retry_after: str | None, seconds: int
) -> None:
    user = connect(due=False)
    limit(spotify, retry_after)

    with pytest.raises(web_api.RateLimited) as caught:
        web_api.session_for(user).get("/me")

    assert caught.value.retry_after == seconds
    assert 0 < milliseconds_left(settings) <= seconds * 1000


def test_a_shorter_pause_does_not_shorten_a_longer_one(
    no_cooldown: None, settings: Settings
) -> None:
    pause.start(500)
    pause.start(5)

    assert milliseconds_left(settings) > 490_000


def test_a_process_asks_redis_once_a_second_and_not_at_each_call(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    session = web_api.session_for(connect(due=False))
    session.get("/me")
    pause._memory.look_at += 3600  # a second that does not end
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.set(pause._KEY, "1", px=60_000)

    for _ in range(5):
        assert session.get("/me").ok

    pause._memory.look_at -= 3600  # and then it does
    wait_for(is_paused, what="the process to look")


def test_without_redis_calls_go_on_and_the_process_knows_of_its_own_429(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    user = connect(due=False)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    session = web_api.session_for(user)
    assert session.get("/me").ok
    limit(spotify, "100")
    with pytest.raises(web_api.RateLimited):
        session.get("/me")

    with pytest.raises(web_api.RateLimited):
        session.get("/me")

    assert calls_made(spotify) == 2


def is_paused() -> bool:
    try:
        pause.check()
    except web_api.RateLimited:
        return True
    return False
