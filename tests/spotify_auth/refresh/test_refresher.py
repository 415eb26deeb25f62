"""One refresh: what is written, when it is due again, and what each failure means."""

import secrets
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test import override_settings
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, schedule
from spotify_auth.models import Cause, Outcome, SpotifyToken, TokenEvent
from spotify_auth.refresh.refresher import refresh_user
from spotify_auth.sandbox.worlds import World
from tests.support.claims import claim_of
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import (
    Connect,
    account_of,
    make_due,
    make_long_refused,
    token_of,
)
from tests.support.worlds import in_rotating, in_spotify_2026

pytestmark = pytest.mark.django_db


def last_event(user: User) -> TokenEvent:
    event = user.spotify_auth_events.first()
    assert event
    return event


def test_nothing_due_is_nothing_to_do(connect: Connect, spotify: Sandbox) -> None:
    connect(due=False)

    assert refresh_next() is None
    assert spotify.stats()["totals"]["refreshes"] == 0


def test_stores_the_new_pair_in_one_generation(
    connect: Connect, spotify: Sandbox, spotify_world: World
) -> None:
    user = connect()
    before = token_of(user)

    assert refresh_next() is Outcome.REFRESHED

    after = token_of(user)
    assert after.generation == before.generation + 1
    assert after.access_token != before.access_token
    assert (after.refresh_token != before.refresh_token) is spotify_world.rotates
    assert account_of(spotify, after.access_token) == user.account_id


def test_the_stored_refresh_token_is_the_one_that_works_next(connect: Connect) -> None:
    user = connect()

    for generation in (2, 3, 4):
        make_due(user)
        assert refresh_next() is Outcome.REFRESHED
        assert token_of(user).generation == generation


def test_keeps_the_old_refresh_token_when_none_is_returned(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    before = token_of(user)
    spotify.faults(fault="no_rotation")

    assert refresh_next() is Outcome.REFRESHED

    assert token_of(user).refresh_token == before.refresh_token
    assert last_event(user).rotated is False
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED


def test_a_blank_scope_does_not_overwrite_the_stored_one(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    spotify.faults(
        fault="garbage",
        content_type="application/json",
        body='{"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "scope": " "}',
    )

    assert refresh_next() is Outcome.REFRESHED

    assert token_of(user).scope == "user-top-read"
    assert token_of(user).access_token == "a"


def test_due_and_expiry_follow_from_expires_in_and_the_start_of_the_exchange(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    spotify.faults(fault="latency", seconds=0.3)

    refresh_next()

    token = token_of(user)
    lifetime = token.expires_at - token.refreshed_at
    assert lifetime == timedelta(seconds=120)
    assert lifetime * 0.7 <= token.due_at - token.refreshed_at <= lifetime * 0.8
    # The event is written after the answer, the expiry counted from before the request.
    assert last_event(user).at - token.refreshed_at >= timedelta(seconds=0.3)


@pytest.mark.parametrize(("expired", "earliest"), [(False, 0.7), (True, 0.3)])
def test_tokens_that_had_expired_spread_over_half_a_lifetime(
    connect: Connect, expired: bool, earliest: float
) -> None:
    users = [connect(f"user-{n}") for n in range(30)]
    # Long ago, since the claims go by the clock of the test's beginning.
    SpotifyToken.objects.update(
        refreshed_at=Now() - timedelta(seconds=118),
        expires_at=Now() + timedelta(seconds=-60 if expired else 60),
    )

    while refresh_next():
        pass

    shares = [
        (token.due_at - token.refreshed_at) / (token.expires_at - token.refreshed_at)
        for token in map(token_of, users)
    ]
    assert earliest <= min(shares) < earliest + 0.25  # but for a chance of 2 ** -30
    assert max(shares) <= 0.8


def test_the_event_answers_why_and_how(connect: Connect, spotify_world: World) -> None:
    user = connect()

    refresh_next()

    event = last_event(user)
    assert (event.cause, event.outcome) == (Cause.SCHEDULE, Outcome.REFRESHED)
    assert (event.generation_before, event.generation_after) == (1, 2)
    assert event.rotated is spotify_world.rotates
    assert event.lifetime_granted == 120
    assert event.lifetime_used is not None
    assert event.duration_ms is not None
    assert not event.worker  # routine


def test_takes_the_most_urgent_first(connect: Connect) -> None:
    later, sooner = connect("user-1"), connect("user-2")
    SpotifyToken.objects.filter(pk=sooner.pk).update(due_at=F("due_at") - timedelta(hours=1))

    refresh_next()

    assert token_of(sooner).generation == 2
    assert token_of(later).generation == 1


def test_a_hundred_messages_refresh_once(connect: Connect, spotify: Sandbox) -> None:
    user = connect()

    outcomes = [refresh_user(user.pk) for _ in range(100)]

    assert outcomes == [Outcome.REFRESHED] + [None] * 99
    assert spotify.stats()["totals"]["refreshes"] == 1


@pytest.mark.parametrize(
    "status",
    [
        SpotifyToken.Status.RECONNECT_REQUIRED,
        SpotifyToken.Status.DISCONNECTED,
        SpotifyToken.Status.REVOKED,
    ],
)
def test_only_active_tokens_are_refreshed(
    connect: Connect, spotify: Sandbox, status: SpotifyToken.Status
) -> None:
    user = connect()
    erased = {} if status == "reconnect_required" else {"access_token": None, "refresh_token": None}
    SpotifyToken.objects.filter(pk=user.pk).update(status=status, **erased)

    assert refresh_next() is None
    assert refresh_user(user.pk) is None
    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def test_a_first_refusal_is_a_suspicion(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.revoke("user-1")

    assert refresh_next() is Outcome.SUSPECTED

    token = token_of(user)
    assert token.status == SpotifyToken.Status.ACTIVE
    assert token.suspected_at
    assert refresh_next() is None  # it is asked for again later


def condemned(user: User, spotify: Sandbox) -> SpotifyToken:
    """A token that Spotify has refused for good."""
    spotify.revoke("user-1")
    for _ in range(3):
        make_long_refused(user)
        outcome = refresh_next()
    assert outcome is Outcome.RECONNECT_REQUIRED
    return token_of(user)


def test_the_third_refusal_of_a_dead_token_is_final(connect: Connect, spotify: Sandbox) -> None:
    user = connect()

    token = condemned(user, spotify)

    assert (token.status, token.last_error) == ("reconnect_required", "invalid_grant")
    assert token.refresh_token  # kept: for an appeal
    assert [event.outcome for event in user.spotify_auth_events.all()] == [
        Outcome.RECONNECT_REQUIRED,
        Outcome.SUSPECTED,
        Outcome.SUSPECTED,
        Outcome.CONNECTED,
    ]


def test_a_verdict_waits_while_the_access_token_lives(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.revoke("user-1")

    for _ in range(10):
        make_long_refused(user)
        SpotifyToken.objects.update(expires_at=Now() + timedelta(seconds=30))
        assert refresh_next() is Outcome.SUSPECTED

    assert token_of(user).status == "active"


def let_the_appeal_come(user: User, *, hours: float) -> None:
    """It is about so many hours away; let them pass."""
    token = token_of(user)
    assert token.appeal_at
    assert abs((token.appeal_at - connections.database_now()).total_seconds() - hours * 3600) < 60
    SpotifyToken.objects.filter(pk=user.pk).update(appeal_at=Now() - timedelta(seconds=1))


def test_a_verdict_is_appealed_three_times(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    condemned(user, spotify)

    for hours in (1, 5, 18):
        assert refresh_next() is None
        let_the_appeal_come(user, hours=hours)
        assert refresh_next() is Outcome.RECONNECT_REQUIRED
        assert token_of(user).last_error == "invalid_grant"

    assert token_of(user).appeal_at is None
    assert refresh_next() is None


def test_an_appeal_that_is_granted_makes_the_token_active_again(
    connect: Connect, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    user = connect()
    spotify.faults("false_invalid_grant")
    for _ in range(3):
        make_long_refused(user)
        outcome = refresh_next()
    assert outcome is Outcome.RECONNECT_REQUIRED  # by mistake
    spotify.clear()
    let_the_appeal_come(user, hours=1)

    assert refresh_next() is Outcome.REFRESHED

    token = token_of(user)
    assert (token.status, token.last_error, token.suspected_at) == ("active", "", None)
    assert account_of(spotify, token.access_token) == user.account_id
    assert last_event(user).cause == Cause.APPEAL
    assert "verdict_reversed user_id=" in caplog.text
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED


def test_an_appeal_that_is_not_answered_is_made_again_soon(
    connect: Connect, spotify: Sandbox
) -> None:
    user, other = connect("user-1"), connect("user-2", due=False)
    condemned(user, spotify)
    let_the_appeal_come(user, hours=1)
    spotify.faults("unavailable", times=1)

    assert refresh_next() is Outcome.RETRY

    token = token_of(user)
    assert (token.status, token.last_error) == ("reconnect_required", "invalid_grant")
    assert token.appeals == 0
    let_the_appeal_come(user, hours=300 / 3600)
    make_due(other)
    assert refresh_next() is Outcome.REFRESHED  # tokens that are due go before appeals
    assert token_of(other).generation == 2


def test_an_old_key_can_be_retired_while_spotify_returns_no_refresh_token(
    connect: Connect, spotify: Sandbox, settings: Settings
) -> None:
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    settings.TOKEN_ENCRYPTION_KEYS = [old]
    user = connect()
    spotify.faults("no_rotation")
    settings.TOKEN_ENCRYPTION_KEYS = [new, old]
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED

    settings.TOKEN_ENCRYPTION_KEYS = [new]
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED


def test_a_suspicion_dates_from_the_first_refusal(connect: Connect, spotify: Sandbox) -> None:
    """Or a user who was served between two refusals would prove nothing about the first."""
    user, _ = connect("user-1"), connect("user-2", due=False)
    spotify.revoke("user-1")
    refresh_next()
    SpotifyToken.objects.update(suspected_at=F("suspected_at") - timedelta(minutes=1))
    first = token_of(user).suspected_at

    make_due(user)
    assert refresh_next() is Outcome.SUSPECTED  # no other user was served meanwhile

    assert token_of(user).suspected_at == first


def test_times_that_lie_ahead_delay_no_verdict(connect: Connect, spotify: Sandbox) -> None:
    """PostgreSQL's clock was a day ahead when they were written."""
    user, ahead = connect(), timedelta(days=1)
    SpotifyToken.objects.update(
        refreshed_at=F("refreshed_at") + ahead,
        expires_at=F("expires_at") + ahead,
        suspected_at=Now() + ahead,
    )
    spotify.revoke("user-1")

    assert refresh_next() is Outcome.SUSPECTED

    # From here on it is as with any other token: dead after a lifetime at the latest.
    soon = Now() + timedelta(minutes=5)
    assert SpotifyToken.objects.filter(
        refreshed_at__lte=soon, expires_at__lte=soon, suspected_at__lte=soon
    ).exists()
    for _ in range(2):
        make_long_refused(user)
        refresh_next()
    assert token_of(user).status == SpotifyToken.Status.RECONNECT_REQUIRED


def test_a_false_invalid_grant_costs_nothing(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.faults(fault="false_invalid_grant")
    refresh_next()
    spotify.clear()
    make_due(user)

    assert refresh_next() is Outcome.REFRESHED

    token = token_of(user)
    assert (token.status, token.suspected_at, token.failures) == ("active", None, 0)


@pytest.mark.parametrize(
    ("fault", "outcome", "error"),
    [
        ({"fault": "unavailable"}, Outcome.RETRY, "http_503"),
        ({"fault": "garbage"}, Outcome.ANSWER_UNKNOWN, "answer_without_access_token"),
        # twice, since a first lost answer is tried again at once
        ({"fault": "connection_reset"}, Outcome.ANSWER_UNKNOWN, "connection_cut"),
    ],
)
def test_other_failures_are_tried_again(
    connect: Connect, spotify: Sandbox, fault: dict[str, object], outcome: Outcome, error: str
) -> None:
    fails_and_backs_off(connect(), spotify, fault, outcome, error)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"fault": "latency", "seconds": 60}, "timeout"),
        ({"fault": "slow_drip", "interval": 0.2, "headers": True, "rotate": False}, "timeout"),
        (
            {"fault": "slow_drip", "interval": 0.2, "headers": False, "rotate": False},
            "answer_cut_short",
        ),
    ],
)
def test_an_answer_that_is_late_is_asked_for_again(
    connect: Connect, spotify: Sandbox, fault: dict[str, object], error: str
) -> None:
    # Not for the other tests: a busy machine is late with answers that do come.
    with override_settings(TOKEN_ENDPOINT_DEADLINE_SECONDS=0.9):
        fails_and_backs_off(connect(), spotify, fault, Outcome.ANSWER_UNKNOWN, error)


def fails_and_backs_off(
    user: User, spotify: Sandbox, fault: dict[str, object], outcome: Outcome, error: str
) -> None:
    """The next refresh meets this fault."""
    before = token_of(user)
    spotify.faults(**fault)  # type: ignore[arg-type]

    assert refresh_next() is outcome

    after = token_of(user)
    assert after.status == SpotifyToken.Status.ACTIVE
    assert (after.failures, after.last_error) == (1, error)
    assert after.due_at > before.due_at
    assert (after.generation, after.refresh_token) == (before.generation, before.refresh_token)
    assert last_event(user).error == error


def test_a_lost_answer_is_asked_for_once_more_at_once(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.faults(fault="grace_window", seconds=30)
    spotify.faults(fault="answer_lost", times=1)

    assert refresh_next() is Outcome.REFRESHED

    token = token_of(user)
    assert account_of(spotify, token.access_token) == user.account_id
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED


@in_spotify_2026
def test_a_lost_answer_costs_nothing_where_the_refresh_token_stays(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    before = token_of(user)
    spotify.faults(fault="answer_lost", times=1)

    assert refresh_next() is Outcome.REFRESHED  # asked again at once

    after = token_of(user)
    assert (after.generation, after.refresh_token) == (2, before.refresh_token)
    assert account_of(spotify, after.access_token) == user.account_id


@in_rotating
def test_a_lost_answer_is_told_apart_from_a_revocation(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.faults(fault="answer_lost", times=1)  # rotated, and nobody knows the new token

    for _ in range(3):
        make_long_refused(user)
        refresh_next()

    token = token_of(user)
    assert (token.status, token.last_error) == ("reconnect_required", "answer_lost")
    assert last_event(user).error == "answer_lost"


@in_spotify_2026
@pytest.mark.django_db(transaction=True)  # it lasts, and due is what PostgreSQL's now() says
def test_an_unanswered_attempt_is_forgiven_where_the_refresh_token_stays(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    spotify.faults(fault="latency_after_rotating", seconds=60)
    with override_settings(TOKEN_ENDPOINT_DEADLINE_SECONDS=0.9):
        assert refresh_next() is Outcome.ANSWER_UNKNOWN
    spotify.clear()
    make_due(user)

    assert refresh_next() is Outcome.REFRESHED

    token = token_of(user)
    assert (token.generation, token.failures, token.last_error) == (2, 0, "")
    assert spotify.stats("user-1")["reuses_of_dead_token"] == 0


@in_rotating
@pytest.mark.django_db(transaction=True)  # it lasts, and due is what PostgreSQL's now() says
def test_a_refusal_after_an_unanswered_attempt_is_a_lost_answer(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    spotify.faults(fault="latency_after_rotating", seconds=60)
    with override_settings(TOKEN_ENDPOINT_DEADLINE_SECONDS=0.9):
        refresh_next()
    spotify.clear()

    for _ in range(2):
        make_due(user)
        refresh_next()

    assert token_of(user).last_error == "answer_lost"


@pytest.mark.parametrize(
    "body", ["<html>", '{"access_token": 1, "refresh_token": "r"}', "x" * 99_999]
)
def test_a_refusal_after_an_unreadable_success_is_a_lost_answer(
    connect: Connect, spotify: Sandbox, body: str
) -> None:
    user = connect()
    spotify.faults(fault="garbage", body=body, times=1)
    assert refresh_next() is Outcome.ANSWER_UNKNOWN
    spotify.revoke("user-1")  # what the grant was, it is dead as if it had been rotated

    for _ in range(2):
        make_due(user)
        refresh_next()

    assert token_of(user).last_error == "answer_lost"


def test_the_end_of_the_six_months_is_called_so(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.expire_refresh_token("user-1")
    SpotifyToken.objects.update(reauthorize_by=Now() - timedelta(days=1))

    assert refresh_next() is Outcome.RECONNECT_REQUIRED

    token = token_of(user)
    assert (token.status, token.last_error) == ("reconnect_required", "six_months_over")


def test_failures_back_off_and_success_forgives_them(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.faults(fault="unavailable")
    for failures in (1, 2, 3):
        make_due(user)
        refresh_next()
        assert token_of(user).failures == failures
    spotify.clear()
    make_due(user)

    refresh_next()

    assert (token_of(user).failures, token_of(user).last_error) == (0, "")


def test_an_undecryptable_row_backs_off_and_holds_nobody_up(connect: Connect) -> None:
    broken, healthy = connect("user-1"), connect("user-2")
    SpotifyToken.objects.filter(pk=broken.pk).update(due_at=Now() - timedelta(hours=1))
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE spotify_auth_spotifytoken SET refresh_token = 'x' WHERE user_id = %s",
            [broken.pk],
        )

    assert refresh_next() is Outcome.RETRY
    assert refresh_next() is Outcome.REFRESHED

    assert token_of(broken).last_error == "undecryptable"
    assert token_of(healthy).generation == 2


def test_a_row_that_no_key_opens_has_one_event_and_is_claimed_ever_less(connect: Connect) -> None:
    """A lost key must not cost a claim and an event every few minutes for each user."""
    user = connect()
    with database.cursor() as cursor:
        cursor.execute("UPDATE spotify_auth_spotifytoken SET refresh_token = 'x', failures = 20")

    for _ in range(30):
        make_due(user)
        assert refresh_next() is Outcome.RETRY

    assert TokenEvent.objects.filter(error="undecryptable").count() == 1
    assert (token_of(user).last_error, token_of(user).failures) == ("undecryptable", 50)
    # At random from now on, and not since a minute ago as `make_due` had it.
    soonest = Now() - timedelta(seconds=50)
    waits = SpotifyToken.objects.filter(due_at__gt=soonest, due_at__lt=Now() + timedelta(hours=1))
    assert waits.exists()


def test_an_answer_that_the_database_refuses_is_saved_and_backs_off(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, healthy = connect("user-1"), connect("user-2")
    SpotifyToken.objects.filter(pk=broken.pk).update(due_at=Now() - timedelta(hours=1))
    refresh_after = schedule.refresh_after

    with monkeypatch.context() as patch:
        patch.setattr(schedule, "refresh_after", lambda *args, **how: 1e30)
        assert refresh_next() is Outcome.RETRY
        patch.setattr(schedule, "refresh_after", refresh_after)
        assert refresh_next() is Outcome.REFRESHED

    assert (token_of(broken).last_error, token_of(broken).failures) == ("unstorable", 1)
    assert token_of(healthy).generation == 2
    make_due(broken)
    assert refresh_next() is Outcome.REFRESHED
    assert spotify.stats("user-1")["refreshes_attempted"] == 1
    assert account_of(spotify, token_of(broken).access_token) == broken.account_id


def test_a_claim_shows_no_secret() -> None:
    assert "sealed" not in repr(claim_of()).replace("sealed_refresh_token", "")
