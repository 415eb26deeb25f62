"""Attempts in a real Redis: marks and how long they count, permission, what is left behind."""

import logging
import os

import pytest
import redis
from pytest_django import Settings

from dev.process import free_port
from spotify_auth import cooldown, pace, redis_client
from spotify_auth.accounts_service.answers import AnswerLost
from spotify_auth.cooldown import Admission
from spotify_auth.figures.traffic import IN_FLIGHT
from spotify_auth.refresh import attempts
from spotify_auth.refresh.attempts import Attempts
from spotify_auth.refresh.decisions import Unresolved
from spotify_auth.schedule import longest_exchange
from tests.support.claims import begin, claim_of
from tests.support.redis_clock import now_of

pytestmark = pytest.mark.usefixtures("no_cooldown")

MARK = "spotify_auth:attempt:7:1"


def test_a_connection_that_was_closed_while_idle_costs_no_mark(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    begin(6)
    with redis.Redis.from_url(settings.REDIS_URL) as other, caplog.at_level(logging.WARNING):
        # As a restart, or a time-out of the server's, would.
        other.client_kill_filter(_id=str(redis_client.client().client_id()))

        begin(7)

        assert other.exists(MARK)
    assert caplog.messages == []


def test_a_question_that_is_sent_twice_does_not_doubt_itself() -> None:
    # The connection may be lost after Redis has run the script; it is then sent again.
    def send(mark: str) -> list[object]:
        keys = [MARK, "spotify_auth:rescued:7:1", *cooldown.KEYS, IN_FLIGHT, *pace.KEYS]
        arguments: list[str | float] = [mark, 60_000, 29_000, "lane", 1, 29_000, 0, 0, 0]
        answer: list[object] = redis_client.run(attempts.START, keys=keys, args=arguments)
        return answer[:4]

    assert send("begun one") == [b"go", b"", b"", 0]
    assert send("begun one") == [b"go", b"", b"", 0]
    assert send("begun another") == [b"go", b"", b"begun one", 1]


def test_a_mark_names_its_process(settings: Settings) -> None:
    begin(7)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.get(MARK).endswith(f":{os.getpid()}".encode())


def test_the_marks_of_two_attempts_differ() -> None:
    begin(7)

    assert begin(7).known_answer == Unresolved()


@pytest.mark.parametrize(("seconds_more", "unresolved"), [(5, True), (11, False)])
def test_a_mark_counts_until_its_grant_must_have_been_saved(
    settings: Settings, seconds_more: int, unresolved: bool
) -> None:
    age = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS) + seconds_more
    begin(7)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.pexpire(MARK, client.pttl(MARK) - int(age * 1000))

    later = begin(7)

    assert (later.known_answer == Unresolved(), later.lost_before) == (unresolved, not unresolved)


def test_an_attempt_that_fails_leaves_no_mark_unless_its_answer_was_lost() -> None:
    with pytest.raises(RuntimeError), Attempts().track(claim_of(7)):
        raise RuntimeError
    assert not begin(7).lost_before

    attempt = begin(8)
    attempt.received(AnswerLost("timeout"))
    attempt.__exit__(RuntimeError, RuntimeError(), None)
    assert begin(8).lost_before


def test_an_attempt_ends_its_own_mark_only(settings: Settings) -> None:
    """A lane that was frozen wakes up while another lane asks for the same generation."""
    frozen = Attempts().track(claim_of(7))
    frozen.__enter__()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(MARK)  # it has become too old to count
        begin(7)
        others = client.get(MARK)

        frozen.__exit__(RuntimeError, RuntimeError(), None)

        assert client.get(MARK) == others


def test_no_more_lanes_ask_than_are_allowed(settings: Settings) -> None:
    settings.REFRESH_LANES = 2
    first, second, third = Attempts(), Attempts(), Attempts()
    begin(1, lane=first)
    begin(2, lane=second)

    assert begin(3, lane=third).admission is Admission.FULL
    # One that asks already may go on with the next token.
    assert begin(4, lane=first).admission is Admission.GO
    first.flush()
    assert begin(5, lane=third).admission is Admission.GO


def test_the_place_of_a_lane_that_was_killed_is_free_again(settings: Settings) -> None:
    settings.REFRESH_LANES = 1
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 12
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        before = now_of(client)
        begin(1)
        after = now_of(client)
        assert begin(2).admission is Admission.FULL

        ((_, until),) = client.zrange(IN_FLIGHT, 0, -1, withscores=True)
        # Not before its exchange must have ended.
        assert before + 29_000 <= until <= after + 29_000
        client.zadd(IN_FLIGHT, {client.zrange(IN_FLIGHT, 0, 0)[0]: before - 1})

    assert begin(2).admission is Admission.GO


def test_without_redis_every_lane_may_ask(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    settings.REFRESH_LANES = 1

    assert [begin(n).admission for n in range(3)] == [Admission.GO] * 3
    Attempts().flush()
