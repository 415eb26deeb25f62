"""Marks of attempts in a real Redis: how long they count, and connections that do not last."""

import logging
import os

import pytest
import redis
from pytest_django import Settings

from spotify_auth import redis_client
from spotify_auth.refresh import attempts
from spotify_auth.schedule import longest_exchange

pytestmark = pytest.mark.usefixtures("no_cooldown")

MARK = "spotify_auth:attempt:7:1"


def test_a_connection_that_was_closed_while_idle_costs_no_mark(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    attempts.begin(6, 1)
    with redis.Redis.from_url(settings.REDIS_URL) as other, caplog.at_level(logging.WARNING):
        # As a restart, or a time-out of the server's, would.
        other.client_kill_filter(_id=str(redis_client.client().client_id()))

        attempts.begin(7, 1)

        assert other.exists(MARK)
    assert caplog.messages == []


def test_a_mark_that_is_sent_twice_does_not_doubt_itself() -> None:
    # The connection may be lost after Redis has run the script; it is then sent again.
    def send(mark: str) -> list[object]:
        keys = [MARK, "spotify_auth:rescued:7:1"]
        answer: list[object] = redis_client.run(
            attempts._BEGIN, keys=keys, args=[mark, 60_000, 29_000]
        )
        return answer[:2]

    assert send("begun one") == [b"", b""]
    assert send("begun one") == [b"", b""]
    assert send("begun another") == [b"", b"begun one"]


def test_a_mark_names_its_process(settings: Settings) -> None:
    attempts.begin(7, 1)

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.get(MARK).endswith(f":{os.getpid()}".encode())


def test_the_marks_of_two_attempts_differ() -> None:
    attempts.begin(7, 1)

    assert attempts.begin(7, 1).in_doubt


@pytest.mark.parametrize(("seconds_more", "in_doubt"), [(5, True), (11, False)])
def test_a_mark_is_doubted_until_its_grant_must_have_been_rescued(
    settings: Settings, seconds_more: int, in_doubt: bool
) -> None:
    age = longest_exchange(settings.TOKEN_ENDPOINT_DEADLINE_SECONDS) + seconds_more
    attempts.begin(7, 1)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.pexpire(MARK, client.pttl(MARK) - int(age * 1000))

    earlier = attempts.begin(7, 1)

    assert (earlier.in_doubt, earlier.unanswered) == (in_doubt, not in_doubt)
