"""The row lock, proved by two connections and a sandbox that holds its answer.

`hold` keeps Spotify's answer back until the test lets it go, so that "while an exchange
is in flight" is a fact and not a matter of timing.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import Error
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, schedule, tokens
from spotify_auth.accounts_service import refreshing
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh import claims, store
from spotify_auth.refresh.claims import Claim
from spotify_auth.refresh.decisions import Decision, Postpone
from spotify_auth.refresh.refresher import refresh_user
from spotify_auth.refresh.transaction import ClaimTransaction
from tests.support.answers import after_the_answer
from tests.support.database_faults import locked_elsewhere
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import (
    Connect,
    Elsewhere,
    account_of,
    forget,
    grant_of,
    make_due,
    token_of,
    waiting_for_a_lock,
)
from tests.support.worlds import in_rotating

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held(spotify: Sandbox, elsewhere: Elsewhere, settings: Settings) -> Callable[..., object]:
    """Start a refresh elsewhere, and return once Spotify holds its answer."""
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 20

    def start(user_id: int) -> "Future[object]":
        spotify.faults(fault="hold", times=1)
        future = elsewhere(refresh_user, user_id)
        wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
        return future

    return start


def test_two_workers_never_refresh_the_same_token(
    connect: Connect, spotify: Sandbox, held: Callable[[int], "Future[object]"]
) -> None:
    user = connect()
    first = held(user.pk)

    assert refresh_user(user.pk) is None
    assert refresh_next() is None

    spotify.release()
    assert first.result() is Outcome.REFRESHED
    assert spotify.stats()["totals"]["refreshes_attempted"] == 1


def test_a_crowd_at_a_barrier_refreshes_each_token_once(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    users = [connect(f"user-{n}") for n in range(10)]
    barrier = threading.Barrier(16)

    def rush() -> list[Outcome | None]:
        barrier.wait(timeout=60)
        return [refresh_user(user.pk) for user in users] + [refresh_next()]

    results = [future.result() for future in [elsewhere(rush) for _ in range(16)]]

    assert sum(outcomes.count(Outcome.REFRESHED) for outcomes in results) == 10  # type: ignore[attr-defined]
    stats = spotify.stats()["totals"]
    assert stats["refreshes_attempted"] == 10
    assert stats["reuses_of_dead_token"] == 0
    assert all(token_of(user).generation == 2 for user in users)


def test_a_locked_token_does_not_hold_up_the_next(
    connect: Connect, spotify: Sandbox, held: Callable[[int], "Future[object]"]
) -> None:
    urgent, other = connect("user-1"), connect("user-2")
    SpotifyToken.objects.filter(pk=urgent.pk).update(due_at=F("due_at") - timedelta(hours=1))
    first = held(urgent.pk)

    assert refresh_next() is Outcome.REFRESHED

    assert token_of(other).generation == 2
    spotify.release()
    first.result()


def test_readers_read_the_old_pair_while_an_exchange_is_in_flight(
    connect: Connect, spotify: Sandbox, held: Callable[[int], "Future[object]"]
) -> None:
    user = connect()
    before = token_of(user)
    first = held(user.pk)

    read = tokens.access_token_for(user.pk)

    assert (read.value, read.generation) == (before.access_token, 1)
    spotify.release()
    first.result()
    assert tokens.access_token_for(user.pk).generation == 2


def test_a_nudge_does_not_wait_for_the_exchange_in_flight(
    connect: Connect, spotify: Sandbox, held: Callable[[int], "Future[object]"]
) -> None:
    user = connect()
    first = held(user.pk)

    assert not tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED)

    assert not first.done()
    spotify.release()
    first.result()


def test_the_lock_ends_with_the_commit_of_the_new_pair(
    connect: Connect, elsewhere: Elsewhere
) -> None:
    user = connect()
    # The foreign key of the event is checked at the end of all, as the COMMIT begins. A routine
    # event has none: this refresh ends a failure.
    SpotifyToken.objects.filter(pk=user.pk).update(failures=1)
    with locked_elsewhere("SELECT FROM accounts_user WHERE id = %s FOR UPDATE", user.pk):
        first = elsewhere(refresh_user, user.pk)
        wait_for(lambda: waiting_for_a_lock() == 1, what="the COMMIT to stand")

        # Written and not committed: others see the old pair, and no way to it.
        assert token_of(user).generation == 1
        assert refresh_user(user.pk) is None

    assert first.result() is Outcome.REFRESHED
    assert token_of(user).generation == 2


def test_a_reconnect_waits_for_the_exchange_and_then_replaces_it(
    connect: Connect,
    spotify: Sandbox,
    held: Callable[[int], "Future[object]"],
    elsewhere: Elsewhere,
) -> None:
    user = connect()
    first = held(user.pk)
    answer = spotify.connect(["user-1"])["user-1"]
    grant = grant_of(answer)
    second = elsewhere(
        connections.connect, user_id=user.pk, grant=grant, issued_at=connections.database_now()
    )
    wait_for(lambda: waiting_for_a_lock() == 1, what="the reconnect to wait for the row")

    spotify.release()

    assert first.result() is Outcome.REFRESHED
    second.result()
    token = token_of(user)
    assert (token.generation, token.access_token) == (3, answer["access_token"])
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED


def test_a_revocation_waits_for_the_exchange_and_is_final(
    connect: Connect,
    spotify: Sandbox,
    held: Callable[[int], "Future[object]"],
    elsewhere: Elsewhere,
) -> None:
    user = connect()
    first = held(user.pk)
    second = elsewhere(connections.revoke, user_id=user.pk)
    wait_for(lambda: waiting_for_a_lock() == 1, what="the revocation to wait for the row")

    spotify.release()

    first.result()
    assert second.result() is True
    token = token_of(user)
    assert (token.status, token.access_token, token.refresh_token) == ("revoked", None, None)


def test_a_late_result_does_not_overwrite_a_newer_generation(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()

    def lose_the_lock() -> None:
        # What is left when the transaction is lost under the lane and somebody else,
        # here on the same connection, takes the row meanwhile.
        with database.cursor() as cursor:
            cursor.execute("ROLLBACK")
        answer = spotify.connect(["user-1"])["user-1"]
        newer = grant_of(answer)
        connections.connect(user_id=user.pk, grant=newer, issued_at=connections.database_now())

    after_the_answer(monkeypatch, lose_the_lock)
    assert refresh_next() is Outcome.RETRY

    token = token_of(user)
    assert token.generation == 2
    assert account_of(spotify, token.access_token) == user.account_id
    assert [event.outcome for event in user.spotify_auth_events.all()].count(Outcome.REFRESHED) == 0


def log_in_again(user: User, spotify: Sandbox) -> None:
    answer = spotify.connect(["user-1"])["user-1"]
    connections.connect(
        user_id=user.pk, grant=grant_of(answer), issued_at=connections.database_now()
    )


def disconnect(user: User, spotify: Sandbox) -> None:
    connections.disconnect(user_id=user.pk)


@pytest.mark.parametrize(
    ("meanwhile", "status", "generation"),
    [(log_in_again, "active", 2), (disconnect, "disconnected", 1)],
)
def test_a_late_refusal_condemns_nothing_newer(
    connect: Connect,
    spotify: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[User, Sandbox], None],
    status: str,
    generation: int,
) -> None:
    user = connect()  # alone, so that a second refusal is believed
    SpotifyToken.objects.update(suspected_at=Now() - timedelta(minutes=2))
    spotify.revoke("user-1")

    def lose_the_lock() -> None:
        with database.cursor() as cursor:
            cursor.execute("ROLLBACK")
        meanwhile(user, spotify)

    after_the_answer(monkeypatch, lose_the_lock)
    assert refresh_next() is Outcome.RETRY

    token = token_of(user)
    assert (token.status, token.generation, token.last_error) == (status, generation, "")


def test_a_late_lane_does_not_put_off_a_newer_generation(connect: Connect) -> None:
    user = connect()
    with ClaimTransaction() as transaction:
        claim = claims.of_user(user.pk)(transaction)
        assert claim
        SpotifyToken.objects.filter(pk=user.pk).update(generation=F("generation") + 1)
        postpone = Decision(write=Postpone(due_in=99), outcome=Outcome.RETRY)

        assert store.apply(transaction, claim, postpone, duration=0) == (False, None)

    assert SpotifyToken.objects.filter(pk=user.pk, generation=2, due_at__lt=Now()).exists()


class Freeze:
    """Holds a lane up until the test lets it go on, as a frozen process would be."""

    def __init__(self) -> None:
        self.frozen, self._go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.frozen.set()
        assert self._go_on.wait(timeout=60)

    def thaw(self) -> None:
        self._go_on.set()


def before_the_first_request(patch: pytest.MonkeyPatch, spotify: Sandbox, freeze: Freeze) -> None:
    unseal = Claim.refresh_token

    def unseal_and_freeze(claim: Claim) -> str:
        freeze()
        return unseal(claim)

    patch.setattr(Claim, "refresh_token", unseal_and_freeze)


def before_the_second_request(patch: pytest.MonkeyPatch, spotify: Sandbox, freeze: Freeze) -> None:
    spotify.faults("connection_reset", times=1)
    exchange = refreshing.refresh

    def exchange_and_freeze(*how: Any, **more: Any) -> Any:
        answer = exchange(*how, **more)
        freeze()
        return answer

    patch.setattr(refreshing, "refresh", exchange_and_freeze)


@in_rotating  # where a refresh token dies
@pytest.mark.parametrize("frozen", [before_the_first_request, before_the_second_request])
def test_a_frozen_lane_loses_its_lock_and_presents_no_dead_token(
    connect: Connect,
    spotify: Sandbox,
    elsewhere: Elsewhere,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    frozen: Callable[[pytest.MonkeyPatch, Sandbox, Freeze], None],
) -> None:
    user, freeze = connect(), Freeze()
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 0.4
    with monkeypatch.context() as patch:
        # So that PostgreSQL ends the lock after four seconds: two deadlines and this.
        patch.setattr(schedule, "STATEMENT_SECONDS", 3.2)
        frozen(patch, spotify, freeze)
        hanging = elsewhere(refresh_user, user.pk)
        assert freeze.frozen.wait(timeout=60)
    assert refresh_user(user.pk) is None
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 5
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "spotify_auth:attempt:*")  # or the row would wait for the frozen lane

    wait_for(lambda: refresh_user(user.pk) is Outcome.REFRESHED, what="the lock to be gone")

    freeze.thaw()
    with pytest.raises(Error):
        hanging.result()
    assert token_of(user).generation == 2
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0
