"""Pause and resume one user: what lanes, readers, logins and saved grants make of it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.db import IntegrityError
from django.db.models.functions import Now
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import connections, tokens, verbs
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.notices.models import Kind as NoticeKind
from spotify_auth.notices.models import Notice
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.refresher import refresh_user
from spotify_auth.verbs import Kind, Operator
from tests.support.answers import after_the_answer
from tests.support.database_faults import cut_the_connection
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import (
    Connect,
    Elsewhere,
    account_of,
    grant_of,
    make_due,
    token_of,
    waiting_for_a_lock,
)
from tests.support.worlds import in_both_worlds

pytestmark = pytest.mark.django_db(transaction=True)

ANNA = Operator.named("anna")


def pause(user: User) -> None:
    assert verbs.pause(user.pk, operator=ANNA, reason="ticket 17").is_done


def resume(user: User) -> None:
    assert verbs.resume(user.pk, operator=ANNA, reason="ticket 17 is closed").is_done


def exchanges(spotify: Sandbox) -> int:
    count: int = spotify.stats()["totals"]["refreshes_attempted"]
    return count


def test_a_paused_token_is_presented_by_nobody_until_it_is_resumed(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    SpotifyToken.objects.update(appeal_at=Now() - timedelta(minutes=1))
    pause(user)

    assert not tokens.nudge(user.pk, generation=1, cause=Cause.STALE_READ)
    assert not tokens.wake(user.pk)
    refused = verbs.refresh(user.pk, operator=ANNA, reason="r")
    assert (refused.kind, "`resume`" in refused.sentence) == (Kind.DOES_NOT_APPLY, True)
    assert refresh_next() is None
    assert refresh_user(user.pk) is None
    assert exchanges(spotify) == 0

    resume(user)
    assert refresh_next() is Outcome.REFRESHED
    assert [(e.outcome, e.cause, e.asked_by) for e in user.spotify_auth_events.all()[:3]] == [
        ("refreshed", "admin", "anna"),
        ("resumed", "admin", "anna"),
        ("paused", "admin", "anna"),
    ]


def test_readers_get_the_access_token_until_it_expires(connect: Connect) -> None:
    user = connect(due=False)
    pause(user)

    assert tokens.access_token_for(user.pk).generation == 1
    SpotifyToken.objects.update(expires_at=Now())
    with pytest.raises(tokens.RefreshPaused):
        tokens.access_token_for(user.pk)


@in_both_worlds
def test_a_pause_waits_for_the_exchange_in_flight_and_holds(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere, settings: Settings
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 20
    user = connect()
    spotify.faults("hold", times=1)
    lane = elsewhere(refresh_user, user.pk)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
    pausing = elsewhere(pause, user)
    wait_for(lambda: waiting_for_a_lock() == 1, what="the pause to wait for the row")

    spotify.release()

    assert lane.result() is Outcome.REFRESHED
    pausing.result()
    token = token_of(user)
    assert (token.status, token.generation) == ("paused", 2)
    assert account_of(spotify, token.access_token) == user.account_id
    make_due(user)
    assert refresh_next() is None


def test_a_pause_is_busy_behind_a_lock_that_stays(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere, settings: Settings
) -> None:
    user = connect()
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 20
    spotify.faults("hold", times=1)
    lane = elsewhere(refresh_user, user.pk)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = -2  # so that it waits for a second: 2 x -2 + 5

    assert verbs.pause(user.pk, operator=ANNA, reason="r").kind is Kind.BUSY

    spotify.release()
    assert lane.result() is Outcome.REFRESHED


def test_a_resumed_token_has_a_clean_slate(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.revoke("user-1")
    refresh_next()
    pause(user)
    assert token_of(user).suspected_at
    SpotifyToken.objects.update(suspected_at=Now() - timedelta(days=9))

    resume(user)

    token = token_of(user)
    assert (token.failures, token.suspected_at, token.last_error) == (0, None, "")


def store_elsewhere(user: User, spotify: Sandbox, *, began_ago: float) -> bool:
    answer = spotify.connect(["user-1"])["user-1"]
    began = connections.database_now() - timedelta(seconds=began_ago)
    return connections.connect(user_id=user.pk, grant=grant_of(answer), issued_at=began)


def test_a_new_login_ends_the_pause_and_a_late_one_does_not(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect(due=False)
    pause(user)

    assert not store_elsewhere(user, spotify, began_ago=3600)
    assert token_of(user).status == "paused"
    assert store_elsewhere(user, spotify, began_ago=0)
    assert (token_of(user).status, token_of(user).generation) == ("active", 2)


@in_both_worlds
def test_a_saved_grant_outlives_a_long_pause(
    connect: Connect, spotify: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    after_the_answer(monkeypatch, cut_the_connection)
    with pytest.raises(Exception, match=r"connection|terminat"):
        refresh_next()
    pause(user)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        (key,) = client.scan_iter("spotify_auth:rescued:*")
        client.pexpire(key, 3600_000)  # six days later

        saved_grants.delete_orphans()

        assert client.pttl(key) > saved_grants.KEPT_MILLISECONDS - 60_000
    resume(user)
    assert refresh_next() is Outcome.REFRESHED
    assert user.spotify_auth_events.first().cause == Cause.RESCUE  # type: ignore[union-attr]
    assert account_of(spotify, token_of(user).access_token) == user.account_id
    assert exchanges(spotify) == 1


@in_both_worlds
@pytest.mark.parametrize(
    ("act", "status", "error"),
    [
        (verbs.pause, "paused", ""),
        (verbs.require_reconnect, "reconnect_required", "required_by_admin"),
    ],
)
def test_a_grant_without_its_lock_and_without_redis_is_stored_and_the_order_stands(
    connect: Connect,
    spotify: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Elsewhere,
    act: Callable[..., verbs.Result],
    status: str,
    error: str,
) -> None:
    user = connect()
    SpotifyToken.objects.filter(pk=user.pk).update(suspected_at=Now(), failures=1)

    def lose_everything() -> None:
        cut_the_connection()
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
        assert elsewhere(act, user.pk, operator=ANNA, reason="r").result()

    after_the_answer(monkeypatch, lose_everything)
    with pytest.raises(Exception, match=r"connection|terminat"):
        refresh_next()

    token = token_of(user)
    assert (token.status, token.last_error, token.generation) == (status, error, 2)
    assert account_of(spotify, token.access_token) == user.account_id
    assert not Notice.objects.filter(kind=NoticeKind.RECOVERED).exists()


def test_a_paused_row_keeps_both_tokens(connect: Connect) -> None:
    user = connect()
    pause(user)

    with pytest.raises(IntegrityError, match="token_kept_while_paused"):
        SpotifyToken.objects.update(refresh_token=None)
