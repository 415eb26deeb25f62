"""Nothing is lost between Spotify's answer and our commit.

Each test breaks something for real after Spotify has rotated, and then asks Spotify
whether what is stored is the pair that works, and whether a dead token was ever shown.
"""

import json
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.db import Error, OperationalError
from django.db import connection as database
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import connections, schedule
from spotify_auth.encryption import cipher
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenColumn, UserId
from spotify_auth.refresh import claims, lanes, refresher, saved_grants
from spotify_auth.refresh.process import process
from tests.support.answers import after_the_answer
from tests.support.database_faults import (
    commit_unacknowledged,
    cut_the_connection,
    locked_elsewhere,
)
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import (
    Connect,
    account_of,
    forget,
    grant_of,
    make_due,
    make_long_refused,
    token_of,
)
from tests.support.worlds import in_rotating, in_spotify_2026

pytestmark = pytest.mark.django_db(transaction=True)


def assert_nothing_was_lost(user: User, spotify: Sandbox, *, generation: int = 2) -> None:
    """The stored pair is Spotify's newest, both halves of it, and no dead token was used."""
    token = token_of(user)
    assert (token.generation, token.status) == (generation, "active")
    assert account_of(spotify, token.access_token) == user.account_id
    assert spotify.stats("user-1")["generation"] == generation
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


def test_a_grant_survives_a_cut_connection(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    before = token_of(user)
    after_the_answer(monkeypatch, cut_the_connection)

    assert lanes.run_lane() == 0  # the lane ended with its connection
    assert token_of(user).generation == 1
    assert lanes.run_lane() == 1  # the next one stores what was rescued

    assert spotify.stats()["totals"]["refreshes_attempted"] == 1
    event = user.spotify_auth_events.first()
    assert event
    assert (event.cause, event.outcome) == (Cause.RESCUE, Outcome.REFRESHED)
    # Counted from the first exchange, not from the rescue.
    assert token_of(user).refreshed_at > before.refreshed_at
    assert_nothing_was_lost(user, spotify)


def test_what_is_rescued_is_encrypted(
    connect: Connect, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    after_the_answer(monkeypatch, cut_the_connection)

    lanes.run_lane()

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        (key,) = client.keys("spotify_auth:rescued:*")
        stored = client.get(key)
    lanes.run_lane()
    token = token_of(user)
    assert token.access_token
    assert token.refresh_token
    assert token.access_token.encode() not in stored
    assert token.refresh_token.encode() not in stored
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        # Once it is stored, it stays for a minute: PostgreSQL may fail over to a standby.
        assert 0 < client.pttl(key) <= 60_000


def test_a_read_only_database_spends_nothing(connect: Connect, spotify: Sandbox) -> None:
    connect()
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        # FOR UPDATE in the claim proves that the database can be written to.
        with pytest.raises(Error):
            refresh_next()
    finally:
        database.close()

    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def test_a_commit_whose_acknowledgement_is_lost_is_recognised(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    with commit_unacknowledged(), pytest.raises(OperationalError):
        refresh_next()

    assert token_of(user).generation == 2
    assert refresh_next() is None
    assert_nothing_was_lost(user, spotify)


def test_a_grant_outlives_whatever_ends_its_lane(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()

    def end(*how: object, **more: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(SpotifyToken, "seal", end)
        with pytest.raises(SystemExit):
            refresh_next()

    assert refresh_next() is Outcome.REFRESHED
    assert_nothing_was_lost(user, spotify)


@pytest.fixture
def longest_back_offs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter: a back-off that is over at once would let a lane take the row once more."""
    monkeypatch.setattr(refresher, "random", SimpleNamespace(random=lambda: 0.99))


@pytest.mark.parametrize("error", [MemoryError, TypeError, RuntimeError])
@pytest.mark.usefixtures("longest_back_offs")
def test_an_exception_that_no_rule_knows_costs_neither_its_grant_nor_the_lane(
    connect: Connect,
    spotify: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
) -> None:
    odd, other = connect("user-1"), connect("user-2")
    SpotifyToken.objects.filter(pk=odd.pk).update(due_at=Now() - timedelta(hours=1))
    seal, secret = SpotifyToken.seal, secrets.token_hex()

    def fail(column: TokenColumn, plaintext: str, *, user_id: UserId) -> bytes:
        if user_id == odd.pk:
            raise error(secret)
        return seal(column, plaintext, user_id=user_id)

    with monkeypatch.context() as patch:
        patch.setattr(SpotifyToken, "seal", fail)
        assert lanes.run_lane() == 2

    assert (token_of(odd).last_error, token_of(odd).failures) == ("unforeseen", 1)
    assert token_of(other).generation == 2
    assert f"unforeseen user_id={odd.pk} reason={error.__name__}" in caplog.text
    assert "store.py" in caplog.text  # where it happened
    assert secret not in caplog.text
    make_due(odd)
    assert refresh_next() is Outcome.REFRESHED
    assert spotify.stats("user-1")["refreshes_attempted"] == 1
    assert_nothing_was_lost(odd, spotify)


REFUSE_EVENTS = """
ALTER TABLE spotify_auth_tokenevent ADD CONSTRAINT no_partition
CHECK (at < '2020-01-01') NOT VALID
"""


@pytest.mark.usefixtures("longest_back_offs")
def test_a_history_that_takes_no_event_costs_no_pair(connect: Connect, spotify: Sandbox) -> None:
    """A partition is missing at midnight: that is everybody."""
    users = [connect("user-1"), connect("user-2")]
    with database.cursor() as cursor:
        cursor.execute(REFUSE_EVENTS)
    try:
        assert lanes.run_lane() == 2
        assert [token_of(user).last_error for user in users] == ["unstorable"] * 2
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE spotify_auth_tokenevent DROP CONSTRAINT no_partition")

    for user in users:
        make_due(user)
    assert lanes.run_lane() == 2
    assert [token_of(user).generation for user in users] == [2, 2]
    assert spotify.stats()["totals"]["refreshes_attempted"] == 2
    assert_nothing_was_lost(users[0], spotify)


def test_a_database_clock_that_was_ahead_costs_no_pair(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    SpotifyToken.objects.update(
        refreshed_at=Now() + timedelta(days=1), due_at=Now() - timedelta(seconds=60)
    )

    assert refresh_next() is Outcome.REFRESHED

    event = user.spotify_auth_events.first()
    assert event
    assert event.lifetime_used == 0
    assert_nothing_was_lost(user, spotify)


def refresh_and_fail_over(user: User) -> None:
    """An asynchronous standby did not have the last commit, and is the primary now."""
    columns = ("access_token", "refresh_token", "generation", "refreshed_at", "expires_at")
    before = SpotifyToken.objects.filter(pk=user.pk).values(*columns).get()
    assert lanes.run_lane() == 1
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE spotify_auth_spotifytoken SET access_token = %s, refresh_token = %s, "
            "generation = %s, refreshed_at = %s, expires_at = %s, "
            "due_at = now() - interval '1 second' WHERE user_id = %s",
            [*before.values(), user.pk],
        )
        # Its history is that of the standby as well.
        cursor.execute("DELETE FROM spotify_auth_tokenevent WHERE outcome = 'refreshed'")


def test_a_failover_that_lost_the_last_commits_loses_no_pair(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    refresh_and_fail_over(user)

    assert lanes.run_lane() == 1
    assert spotify.stats()["totals"]["refreshes_attempted"] == 1
    assert_nothing_was_lost(user, spotify)


def assert_the_pair_is_lost_and_a_login_repairs_it(user: User, spotify: Sandbox) -> None:
    """What docs/explanation/failures.md says of a loss, in full: nobody can know its cause."""
    for _ in range(3):
        make_long_refused(user)
        refresh_next()
    token = token_of(user)
    assert (token.status, token.last_error) == ("reconnect_required", "invalid_grant")

    answer = spotify.connect(["user-1"])["user-1"]
    connections.connect(
        user_id=user.pk, grant=grant_of(answer), issued_at=connections.database_now()
    )

    assert account_of(spotify, token_of(user).access_token) == user.account_id


@in_rotating
def test_a_failover_that_also_lost_redis_loses_the_pair(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    user = connect()
    refresh_and_fail_over(user)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "spotify_auth:*")

    assert_the_pair_is_lost_and_a_login_repairs_it(user, spotify)


@in_rotating
def test_a_saved_grant_that_is_lost_with_redis_is_a_lost_pair(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    after_the_answer(monkeypatch, cut_the_connection)
    lanes.run_lane()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "spotify_auth:*")

    assert_the_pair_is_lost_and_a_login_repairs_it(user, spotify)


def another_last_byte(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


@pytest.mark.usefixtures("longest_back_offs")
@pytest.mark.parametrize(
    "change",
    [
        lambda client, key: client.set(key, b"written by a version to come", px=60_000),
        lambda client, key: client.set(key, another_last_byte(client.get(key)), px=60_000),
    ],
)
def test_a_saved_grant_that_cannot_be_read_waits_and_is_never_deleted(
    connect: Connect,
    spotify: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any, bytes], object],
) -> None:
    odd, other = connect("user-1"), connect("user-2", due=False)
    after_the_answer(monkeypatch, cut_the_connection)
    lanes.run_lane()
    make_due(other)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        (key,) = client.keys("spotify_auth:rescued:*")
        readable = client.get(key)
        change(client, key)

        assert lanes.run_lane() == 2

        assert token_of(odd).last_error == "saved_grant_unreadable"
        assert token_of(other).generation == 2
        assert spotify.stats("user-1")["refreshes_attempted"] == 1
        client.set(key, readable, px=60_000)  # the worker that can read it comes by
    make_due(odd)
    assert refresh_next() is Outcome.REFRESHED
    assert_nothing_was_lost(odd, spotify)


def test_a_saved_grant_with_a_field_more_is_read(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the next version may write it, in a rolling deploy."""
    user = connect()
    after_the_answer(monkeypatch, cut_the_connection)
    lanes.run_lane()
    place = f"rescued.{user.pk}.1"
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        (key,) = client.keys("spotify_auth:rescued:*")
        plain = json.loads(cipher().decrypt(client.get(key), place=place))
        sealed = cipher().encrypt(json.dumps({**plain, "token_type": "Bearer"}), place=place)
        client.set(key, sealed, px=60_000)

    assert refresh_next() is Outcome.REFRESHED
    assert_nothing_was_lost(user, spotify)


def test_without_redis_the_lane_holds_the_grant_until_postgresql_is_back(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    after_the_answer(monkeypatch, cut_the_connection)

    with pytest.raises(Error):
        refresh_next()

    assert_nothing_was_lost(user, spotify)


def test_a_worker_that_stops_does_not_hold_a_grant_for_ever(
    connect: Connect,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither Redis nor PostgreSQL takes it: after ten seconds the process ends."""
    connect()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    monkeypatch.setattr(saved_grants, "LAST_TRIES_SECONDS", 0.3)
    monkeypatch.setattr(saved_grants, "RETRY_SECONDS", 0.1)
    # PostgreSQL refuses a due time of that size, whoever writes it.
    monkeypatch.setattr(schedule, "refresh_after", lambda *args, **how: 1e30)
    after_the_answer(monkeypatch, process.stopping.set)

    assert refresh_next() is Outcome.RETRY

    assert "grant_lost user_id=" in caplog.text
    # Said once, however often it was tried.
    assert caplog.text.count("grant_save_failed") == caplog.text.count("rescue_waits") == 1
    process.reset()


def test_a_statement_that_hangs_is_given_up_and_its_grant_rescued(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    with ExitStack() as stack:
        stack.enter_context(monkeypatch.context()).setattr(claims, "STATEMENT_SECONDS", 0.3)
        after_the_answer(
            monkeypatch,
            lambda: stack.enter_context(locked_elsewhere("LOCK TABLE spotify_auth_tokenevent")),
        )
        assert lanes.run_lane() == 0
    assert token_of(user).generation == 1

    assert lanes.run_lane() == 1

    assert_nothing_was_lost(user, spotify)


def test_a_rescued_grant_never_replaces_a_newer_one(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    after_the_answer(monkeypatch, cut_the_connection)
    lanes.run_lane()
    answer = spotify.connect(["user-1"])["user-1"]
    grant = grant_of(answer)

    connections.connect(user_id=user.pk, grant=grant, issued_at=connections.database_now())
    make_due(user)
    lanes.run_lane()

    token = token_of(user)
    assert token.generation == 3
    assert account_of(spotify, token.access_token) == user.account_id
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


def test_who_comes_between_the_cut_and_the_rescue_waits(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, other = connect("user-1"), connect("user-2")
    rescuing, go_on = threading.Event(), threading.Event()
    save = saved_grants.save

    def slow_save(*what: Any, **how: Any) -> bool:
        rescuing.set()
        go_on.wait(timeout=60)
        return save(*what, **how)

    def run() -> None:
        try:
            lanes.run_lane()
        finally:
            database.close()

    monkeypatch.setattr(saved_grants, "save", slow_save)
    SpotifyToken.objects.filter(pk=other.pk).update(due_at=token_of(user).expires_at)
    after_the_answer(monkeypatch, cut_the_connection)
    with ThreadPoolExecutor(1) as pool:
        lane = pool.submit(run)
        assert rescuing.wait(timeout=60)

        # The lock is gone with its connection and the grant is nowhere yet: whoever
        # claims the row now sees the fresh mark, and does not spend the dead token.
        wait_for(lambda: refresher.refresh_user(user.pk) is Outcome.RETRY, what="the row")
        assert spotify.stats("user-1")["refreshes_attempted"] == 1

        go_on.set()
        lane.result()
    make_due(user)
    assert refresher.refresh_user(user.pk) is Outcome.REFRESHED
    assert spotify.stats("user-1")["refreshes_attempted"] == 1
    assert_nothing_was_lost(user, spotify)


def test_a_lane_leaves_no_marks_behind(connect: Connect, settings: Settings) -> None:
    for name in ("user-1", "user-2"):
        connect(name)

    assert lanes.run_lane() == 2

    with redis.Redis.from_url(settings.REDIS_URL) as client:
        keys = client.keys("spotify_auth:*")
        left = [key for key in keys if not key.startswith(b"spotify_auth:pace")]
        # For a minute, and encrypted: what it has stored.
        assert {key.split(b":")[1] for key in left} == {b"rescued"}
        assert all(0 < client.pttl(key) <= 60_000 for key in left)


def lose_the_answer_and_the_connection(spotify: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same time, so that the lane cannot ask again."""
    spotify.faults("answer_lost", times=1)
    ask = refresher.ask

    def ask_and_cut(*how: Any) -> Any:
        try:
            return ask(*how)
        finally:
            cut_the_connection()

    with monkeypatch.context() as patch:
        patch.setattr(refresher, "ask", ask_and_cut)
        with pytest.raises(Error):
            refresh_next()


@in_spotify_2026
def test_a_lost_answer_costs_nothing_where_the_refresh_token_stays(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    before = token_of(user)
    lose_the_answer_and_the_connection(spotify, monkeypatch)
    make_due(user)

    assert refresh_next() is Outcome.REFRESHED

    after = token_of(user)
    assert (after.generation, after.refresh_token) == (2, before.refresh_token)
    assert account_of(spotify, after.access_token) == user.account_id


@in_rotating
def test_a_lost_answer_is_remembered_although_the_connection_is_cut(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    lose_the_answer_and_the_connection(spotify, monkeypatch)
    for _ in range(4):
        make_long_refused(user)
        refresh_next()

    assert (token_of(user).status, token_of(user).last_error) == (
        "reconnect_required",
        "answer_lost",
    )


def test_a_rescued_grant_does_not_end_a_cooldown(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescued, other = connect("user-1"), connect("user-2", due=False)
    after_the_answer(monkeypatch, cut_the_connection)
    lanes.run_lane()
    make_due(other)
    spotify.faults("rate_limited", times=1)
    refresher.refresh_user(other.pk)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete("spotify_auth:cooldown:pause")  # it is over, and one lane probes

        # Stored without asking Spotify, so that nobody knows whether it is well again.
        assert refresher.refresh_user(rescued.pk) is Outcome.REFRESHED
        assert client.exists("spotify_auth:cooldown:half_open")

        # A token that has just failed is no probe, so another one must be.
        third = connect("user-3")
        assert refresher.refresh_user(third.pk) is Outcome.REFRESHED
        assert not client.exists("spotify_auth:cooldown:half_open")
