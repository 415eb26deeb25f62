"""One answer for all who ask for the same: threads, processes, and for a moment afterwards."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import shared_answers
from spotify_auth.shared_answers import Made, share
from tests.support.processes import wait_for
from tests.support.tokens import Elsewhere

pytestmark = pytest.mark.usefixtures("no_cooldown")

PLACE = "dashboard:42:7"


class Maker:
    """Makes answers, and counts them."""

    def __init__(self, *, seconds: float = 10, takes: float = 0) -> None:
        self.made = 0
        self._seconds = seconds
        self._takes = takes

    def __call__(self) -> Made:
        self.made += 1
        number = self.made
        time.sleep(self._takes)
        return Made(f"private answer {number}", self._seconds)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "_flights", {})  # another test's, of the same place


@pytest.fixture
def another_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on this process knows no more than another one would."""
    return lambda: monkeypatch.setattr(shared_answers, "_flights", {})


@pytest.fixture
def redis_itself(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client


@pytest.fixture
def without_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "_flights", {})
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"


def at_once(elsewhere: Elsewhere, make: Callable[[], Made], threads: int = 8) -> list[object]:
    start = threading.Barrier(threads)

    def ask() -> str:
        start.wait()
        return share(PLACE, make)

    return [each.result() for each in [elsewhere(ask) for _ in range(threads)]]


def test_threads_that_ask_at_once_share_one_answer(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = shared_answers._board
    aboard: list[str] = []

    def board_and_count(key: str) -> Any:
        flight = board(key)
        aboard.append(key)
        return flight

    make = Maker(seconds=0)

    def make_once_all_are_aboard() -> Made:
        wait_for(lambda: len(aboard) == 8, what="all threads")
        return make()

    monkeypatch.setattr(shared_answers, "_board", board_and_count)
    monkeypatch.setattr(shared_answers, "LONGEST_SECONDS", 60.0)

    assert at_once(elsewhere, make_once_all_are_aboard) == ["private answer 1"] * 8
    assert make.made == 1


def test_an_answer_that_may_not_be_kept_is_made_again() -> None:
    make = Maker(seconds=0)

    assert [share(PLACE, make), share(PLACE, make)] == ["private answer 1", "private answer 2"]


def test_an_answer_is_kept_for_a_moment(redis_itself: redis.Redis) -> None:
    make = Maker(seconds=60)

    answers = [share(PLACE, make), share(PLACE, make)]
    (kept,) = redis_itself.scan_iter("spotify_auth:shared:*")
    assert 0 < redis_itself.pttl(kept) <= 60_000
    redis_itself.pexpire(kept, 1)
    wait_for(lambda: not redis_itself.exists(kept), what="the moment to pass", every=0.01)
    answers.append(share(PLACE, make))

    assert answers == ["private answer 1", "private answer 1", "private answer 2"]


def test_another_place_has_another_answer() -> None:
    make = Maker()

    assert share(PLACE, make) != share("dashboard:42:8", make)


def test_another_process_has_the_kept_answer(another_process: Callable[[], None]) -> None:
    make = Maker()
    share(PLACE, make)
    another_process()

    assert share(PLACE, make) == "private answer 1"


def test_processes_that_ask_at_once_share_one_answer(
    elsewhere: Elsewhere, another_process: Callable[[], None]
) -> None:
    make = Maker(takes=0.6)
    first = elsewhere(share, PLACE, make)
    time.sleep(0.2)
    another_process()

    assert share(PLACE, make) == "private answer 1"
    assert first.result() == "private answer 1"
    assert make.made == 1


def test_a_process_that_dies_over_it_costs_a_wait(
    monkeypatch: pytest.MonkeyPatch, redis_itself: redis.Redis
) -> None:
    monkeypatch.setattr(shared_answers, "LONGEST_SECONDS", 0.5)
    share(PLACE, Maker())
    (kept,) = redis_itself.scan_iter("spotify_auth:shared:*")
    redis_itself.delete(kept)
    redis_itself.set(kept + b":made", "somebody", px=500)  # took it, and was killed

    assert share(PLACE, Maker()) == "private answer 1"


def test_what_fails_fails_for_its_caller_and_is_tried_by_the_next() -> None:
    def fail() -> Made:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        share(PLACE, fail)

    assert share(PLACE, Maker()) == "private answer 1"


def test_those_who_waited_for_a_failure_try_themselves(elsewhere: Elsewhere) -> None:
    began = threading.Event()

    def fail() -> Made:
        began.set()
        time.sleep(0.3)
        raise ValueError("no")

    first = elsewhere(share, PLACE, fail)
    began.wait()

    assert share(PLACE, Maker()) == "private answer 1"
    with pytest.raises(ValueError, match="no"):
        first.result()


def test_redis_holds_it_encrypted_under_a_digest_and_for_its_time(
    redis_itself: redis.Redis,
) -> None:
    share(PLACE, Maker())

    (key,) = redis_itself.scan_iter("spotify_auth:shared:*")
    assert b"dashboard" not in key
    assert b"private" not in (redis_itself.get(key) or b"")
    assert 0 < redis_itself.pttl(key) <= 10_000


def test_an_answer_copied_to_another_place_is_not_shown(redis_itself: redis.Redis) -> None:
    share(PLACE, Maker())
    (mine,) = redis_itself.scan_iter("spotify_auth:shared:*")
    share("dashboard:43:1", Maker())
    (other,) = set(redis_itself.scan_iter("spotify_auth:shared:*")) - {mine}
    redis_itself.copy(mine, other, replace=True)
    make = Maker()
    make.made = 10

    assert share("dashboard:43:1", make) == "private answer 11"


def test_without_redis_a_process_shares_among_its_threads(
    elsewhere: Elsewhere, without_redis: None
) -> None:
    make = Maker(takes=0.5)

    assert at_once(elsewhere, make) == ["private answer 1"] * 8
    assert share(PLACE, make) == "private answer 1"
    assert make.made == 1


def test_without_redis_it_is_forgotten_after_its_time(without_redis: None) -> None:
    make = Maker(seconds=0.3)
    share(PLACE, make)
    time.sleep(0.4)

    assert share("dashboard:1:1", make) == "private answer 2"
    assert len(shared_answers._flights) == 1
