"""What a refusal is taken for when it comes together with another failure."""

import pytest
import redis
from pytest_django import Settings

from accounts.models import User
from spotify_auth.models import Outcome
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, forget, make_long_refused, token_of
from tests.support.worlds import in_rotating

pytestmark = pytest.mark.django_db(transaction=True)


def lose_redis(settings: Settings) -> None:
    """Redis comes back empty."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()


def refuse_until_the_verdict(user: User) -> None:
    """Let refusals come, an hour apart, until the token is given up."""
    for _ in range(5):
        make_long_refused(user)
        assert refresh_next() is not None
        if token_of(user).status == "reconnect_required":
            return
    pytest.fail("no verdict after five refusals")


@in_rotating
@pytest.mark.parametrize(
    "fault",
    [
        # The repetition is refused: that is the first refusal.
        {"fault": "answer_lost", "times": 1},
        # No answer to the repetition either.
        {"fault": "latency_after_rotating", "seconds": 2},
    ],
)
def test_a_lost_answer_is_remembered_when_redis_is_lost(
    connect: Connect, spotify: Sandbox, settings: Settings, fault: dict[str, object]
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 1
    user = connect()
    spotify.faults(**fault)  # type: ignore[arg-type]
    refresh_next()
    spotify.clear()

    lose_redis(settings)
    refuse_until_the_verdict(user)

    assert token_of(user).last_error == "answer_lost"


@pytest.mark.parametrize("second", ["rate_limited", "unavailable", "invalid_client", "garbage"])
def test_an_answer_stays_lost_whatever_the_repetition_is_told(
    connect: Connect, spotify: Sandbox, settings: Settings, second: str
) -> None:
    user = connect()
    spotify.faults("connection_reset", times=1)
    spotify.faults(second, times=1)
    refresh_next()
    spotify.revoke("user-1")  # as if the first request had rotated
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "spotify_auth:cooldown:*")

    refuse_until_the_verdict(user)

    assert token_of(user).last_error == "answer_lost"


def test_an_unreadable_success_is_remembered_when_redis_is_lost(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    user = connect()
    spotify.faults("garbage", times=1)
    assert refresh_next() is Outcome.ANSWER_UNKNOWN
    spotify.revoke("user-1")

    lose_redis(settings)
    refuse_until_the_verdict(user)

    assert token_of(user).last_error == "answer_lost"
