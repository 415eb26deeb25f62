"""The Web API's pace: learned when the application is refused, and shared by all processes."""

import logging
import time
from contextlib import suppress

import pytest
import redis
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import pace_rule, web_api
from spotify_auth.figures import traffic
from spotify_auth.pace_rule import Pace
from spotify_auth.web_api import pace, pause
from tests.support.processes import wait_for
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

ENDPOINTS = "/me", "/me/top/artists", "/me/playlists"
CALLS = 60
"""That the sandbox answers in 30 s."""


@pytest.fixture
def user(connect: Connect) -> User:
    return connect(due=False, scope=SCOPES)


def be_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows: what is left is what Redis tells the others."""
    monkeypatch.setattr(pause, "_memory", pause._Memory())
    monkeypatch.setattr(pace, "_memory", pace._Memory())


def rate(settings: Settings) -> float | None:
    """The pace that all processes share, in calls a second."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        known = client.hget(pace.KEYS[0], "rate")
    assert known is None or isinstance(known, bytes)
    return None if known is None else float(known)


def pauses_are_over(settings: Settings) -> None:
    """As they are after Retry-After."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(pause._ALL, pause._ENDPOINTS)
        client.hincrbyfloat(pace.KEYS[0], "at", -pace_rule.WINDOW_SECONDS)
    pause._memory = pause._Memory()


def call(
    user: User, path: str, *, times: int, stopped: list[web_api.RateLimited] | None = None
) -> int:
    """Call so often; how many calls were made, and not `stopped` here."""
    session, made = web_api.session_for(user), 0
    for _ in range(times):
        try:
            session.get(path)
        except web_api.RateLimited as error:
            if stopped is not None:
                stopped.append(error)
            continue
        made += 1
    return made


@pytest.fixture
def count_for_long(no_cooldown: None) -> None:
    """All calls of the last window are known, as they are half a minute after the first."""
    pace._learn(lambda *_: Pace(), tries=1)
    pace._memory.since -= pace_rule.WINDOW_SECONDS


def calls_made(spotify: Sandbox) -> int:
    count: int = spotify.stats()["totals"]["web_api_calls"]
    return count


def limit(spotify: Sandbox, *, retry_after: str = "30", path: str = "/v1") -> None:
    spotify.faults("web_api_limit", calls=CALLS, retry_after=retry_after, path=path)


def ask_too_much(user: User) -> None:
    """Two endpoints are refused at once: it is the application that is limited."""
    assert call(user, ENDPOINTS[0], times=CALLS + 1) == CALLS
    assert call(user, ENDPOINTS[1], times=1) == 0


def test_there_is_no_pace_before_a_429(user: User, spotify: Sandbox, settings: Settings) -> None:
    assert call(user, ENDPOINTS[0], times=2 * CALLS) == 2 * CALLS

    assert rate(settings) is None
    assert traffic.look().web_api_pace == float("inf")


@pytest.mark.parametrize("is_away", [False, True])
def test_the_first_calls_that_are_counted_teach_nothing_yet(
    user: User, spotify: Sandbox, settings: Settings, is_away: bool
) -> None:
    """Of what was called before, within this window, nobody knows: not Redis, nor a new process."""
    url = settings.REDIS_URL
    if is_away:
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    limit(spotify)

    ask_too_much(user)

    settings.REDIS_URL = url
    assert rate(settings) is None
    assert pace._memory.rate is None


@pytest.mark.usefixtures("count_for_long")
def test_what_the_window_carried_is_the_pace_of_every_process(
    user: User,
    spotify: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    limit(spotify)

    ask_too_much(user)

    learned = pace_rule.KEPT_SHARE * CALLS / pace_rule.WINDOW_SECONDS
    assert rate(settings) == traffic.look().web_api_pace == pytest.approx(learned)
    assert "web_api_pace_learned" in caplog.text
    spotify.clear()
    pauses_are_over(settings)
    be_another_process(monkeypatch)
    before = calls_made(spotify)

    stopped: list[web_api.RateLimited] = []
    made = call(user, ENDPOINTS[2], times=30, stopped=stopped)

    # A second's permits at most, however fast the calls come, and what came in meanwhile.
    assert 0 < made < 10
    assert calls_made(spotify) - before == made
    assert all(0 < each.retry_after <= 1 for each in stopped)


def test_processes_share_the_permits_and_give_back_what_they_do_not_use(
    no_cooldown: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        moments = client.time()
        client.hset(
            pace.KEYS[0],
            # Nobody has called for an hour.
            mapping={"rate": "10", "at": moments[0] - 3600, "looked_at": moments[0]},
        )
    given = []
    for _ in range(4):
        be_another_process(monkeypatch)
        with suppress(web_api.RateLimited):
            pause.check("/v1/me")
        given.append(sum(pace._memory.recent.values()) + int(pace._memory.permits))
    idle = pace._memory

    assert given[0] == pace.FEWEST_PERMITS
    assert sum(given) <= 10 * (2 + time.monotonic() - started)
    idle.permits = 5.0
    asked, unused, *_ = pace.question()
    assert (asked, unused) == (pace.FEWEST_PERMITS, 5)
    assert idle.permits == 0


def test_a_clock_of_redis_that_went_back_takes_no_permits_away(
    no_cooldown: None, settings: Settings
) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        ahead = client.time()[0] + 3600
        client.hset(pace.KEYS[0], mapping={"rate": "10", "at": ahead, "looked_at": ahead})

    with suppress(web_api.RateLimited):
        pause.check("/v1/me")

    assert pace._memory.permits == 0
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        moments = client.hmget(pace.KEYS[0], "at", "looked_at")
    assert all(float(moment or 0) < ahead - 1800 for moment in moments)


@pytest.mark.usefixtures("count_for_long")
def test_an_endpoint_with_a_limit_of_its_own_slows_nobody_down(
    user: User, spotify: Sandbox, settings: Settings
) -> None:
    limit(spotify, path="/v1/me/top")

    assert call(user, ENDPOINTS[1], times=CALLS + 5) == CALLS

    assert rate(settings) is None
    assert call(user, ENDPOINTS[0], times=CALLS) == CALLS


@pytest.mark.usefixtures("count_for_long")
@pytest.mark.parametrize(
    "fault",
    [
        # As two endpoints that Spotify has given up.
        {"retry_after": "48925"},
        {"retry_after": "30", "reason": "QUOTA_EXCEEDED"},
    ],
)
def test_a_429_that_is_no_rate_teaches_no_pace(
    user: User, spotify: Sandbox, settings: Settings, fault: dict[str, str]
) -> None:
    assert call(user, ENDPOINTS[0], times=CALLS) == CALLS
    spotify.faults("web_api_error", status=429, message="x", **fault)

    assert [call(user, path, times=1) for path in ENDPOINTS[:2]] == [0, 0]

    assert rate(settings) is None


@pytest.mark.usefixtures("count_for_long")
def test_a_pace_is_forgotten(user: User, spotify: Sandbox, settings: Settings) -> None:
    limit(spotify)
    ask_too_much(user)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert 0 < client.ttl(pace.KEYS[0]) <= pace_rule.FORGOTTEN_SECONDS


@pytest.mark.parametrize("is_lost", [False, True], ids=["away", "lost"])
@pytest.mark.usefixtures("count_for_long")
def test_the_pace_outlives_a_redis_that_does_not_remember_it(
    user: User, spotify: Sandbox, settings: Settings, is_lost: bool
) -> None:
    limit(spotify)
    ask_too_much(user)
    before, url = rate(settings), settings.REDIS_URL
    spotify.clear()
    pauses_are_over(settings)
    if is_lost:
        with redis.Redis.from_url(url) as client:
            client.delete(*pace.KEYS)
    else:
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    assert call(user, ENDPOINTS[2], times=30) < 10

    assert pace._memory.rate == before
    settings.REDIS_URL = url
    if is_lost:
        assert rate(settings) == pytest.approx(before)


@pytest.mark.usefixtures("count_for_long")
def test_without_redis_a_process_paces_itself_and_when_it_is_back_all_agree_again(
    user: User, spotify: Sandbox, settings: Settings
) -> None:
    url = settings.REDIS_URL
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    limit(spotify)
    ask_too_much(user)
    spotify.clear()
    pause._memory.all_until, pause._memory.endpoints = 0.0, {}
    pace._memory.at -= 3600  # nobody has called for an hour

    made = call(user, ENDPOINTS[2], times=30)

    assert pace._memory.rate == pytest.approx(
        pace_rule.KEPT_SHARE * CALLS / pace_rule.WINDOW_SECONDS, rel=0.05
    )
    assert made < 10
    settings.REDIS_URL = url
    pause._memory.look_at = 0.0
    wait_for(lambda: call(user, ENDPOINTS[2], times=1) == 1, what="what all know: no pace")
    assert pace._memory.rate is None


@pytest.mark.usefixtures("count_for_long")
def test_the_pace_rises_while_calls_go_without(
    user: User, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(spotify)
    ask_too_much(user)
    before = rate(settings)
    assert before
    spotify.clear()
    pauses_are_over(settings)
    call(user, ENDPOINTS[2], times=30)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.hset(pace.KEYS[0], "looked_at", "0")
    pause._memory.look_at = 0.0

    call(user, ENDPOINTS[2], times=1)

    risen = rate(settings)
    assert risen is not None
    assert risen > before


def test_a_pace_of_another_version_is_none(no_cooldown: None) -> None:
    known = pace._pace_of(b'{"limit": 7}', now=1000.0)
    assert (known.rate, known.counted_from) == (None, 1000.0)
