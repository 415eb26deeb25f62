"""The read side: what a reader gets, and what a nudge does."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from django.contrib.auth.models import AnonymousUser
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import User
from spotify_auth import connections, tokens
from spotify_auth.models import Cause, SpotifyToken
from spotify_auth.refresh import refresher, saved_grants
from tests.support.asynchronous import run_async
from tests.support.celery_apps import another_app
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db


def test_reads_the_access_token_with_its_scopes(connect: Connect) -> None:
    user = connect(due=False)

    token = tokens.access_token_for(user.pk)

    stored = token_of(user)
    assert token.value == stored.access_token
    assert token.expires_at == stored.expires_at
    assert token.scopes == {"user-top-read"}
    assert token.generation == 1


def test_a_user_is_as_good_as_a_primary_key(connect: Connect) -> None:
    user = connect(due=False)

    assert tokens.access_token_for(user) == tokens.access_token_for(user.pk)


def test_nobody_is_not_connected() -> None:
    with pytest.raises(tokens.NotConnected):
        tokens.access_token_for(AnonymousUser())


def test_reading_is_one_plain_select(connect: Connect) -> None:
    user = connect(due=False)

    with CaptureQueriesContext(database) as queries:
        tokens.access_token_for(user.pk)

    (query,) = queries.captured_queries
    assert "SELECT" in query["sql"]
    assert "FOR UPDATE" not in query["sql"]


def test_reading_never_calls_spotify(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    make_due(user, expired=True)

    with pytest.raises(tokens.TokenStale):
        tokens.access_token_for(user.pk)

    assert spotify.stats()["totals"]["refreshes_attempted"] == 0


def test_an_access_token_hides_its_value(connect: Connect) -> None:
    token = tokens.access_token_for(connect(due=False).pk)

    assert token.value not in repr(token)


@pytest.mark.parametrize(
    ("left", "asked", "stale"),
    [
        (60, None, False),
        (9, None, True),  # below ACCESS_TOKEN_MINIMUM_SECONDS
        (9, 5, False),  # enough for this caller
        (60, 600, True),  # not enough for a long job
        (-1, 0, True),  # expired
    ],
)
def test_a_token_without_enough_life_is_stale(
    connect: Connect, left: float, asked: float | None, stale: bool
) -> None:
    user = connect()
    SpotifyToken.objects.filter(pk=user.pk).update(expires_at=Now() + timedelta(seconds=left))

    if stale:
        with pytest.raises(tokens.TokenStale):
            tokens.access_token_for(user.pk, minimum_seconds=asked)
    else:
        assert tokens.access_token_for(user.pk, minimum_seconds=asked).generation == 1


def test_an_async_view_reads_the_same(connect: Connect) -> None:
    user = connect(due=False)

    token = run_async(tokens.aaccess_token_for, user, minimum_seconds=60)

    assert token == tokens.access_token_for(user)


def test_an_async_view_meets_the_same_errors(connect: Connect) -> None:
    user = connect(due=False)

    with pytest.raises(tokens.TokenStale):
        run_async(tokens.aaccess_token_for, user, minimum_seconds=7200)


def test_who_never_connected_is_not_connected() -> None:
    user = User.objects.create(username="staff")

    with pytest.raises(tokens.NotConnected):
        tokens.access_token_for(user.pk)


@pytest.mark.parametrize("close", [connections.disconnect, connections.revoke])
def test_who_was_disconnected_is_not_connected(connect: Connect, close: object) -> None:
    user = connect(due=False)
    close(user_id=user.pk)  # type: ignore[operator]

    with pytest.raises(tokens.NotConnected):
        tokens.access_token_for(user.pk)


def test_who_was_refused_must_reconnect_even_while_the_access_token_lives(
    connect: Connect,
) -> None:
    user = connect(due=False)
    SpotifyToken.objects.update(status=SpotifyToken.Status.RECONNECT_REQUIRED)

    with pytest.raises(tokens.ReconnectRequired):
        tokens.access_token_for(user.pk)


def test_a_nudge_makes_the_token_the_most_urgent_one(connect: Connect) -> None:
    overdue, nudged = connect("user-1"), connect("user-2", due=False)
    SpotifyToken.objects.filter(pk=nudged.pk).update(refreshed_at=F("refreshed_at") - timedelta(1))

    assert tokens.nudge(nudged.pk, generation=1, cause=Cause.UNAUTHORIZED)

    refresh_next()
    assert token_of(nudged).generation == 2
    assert token_of(overdue).generation == 1
    event = nudged.spotify_auth_events.first()
    assert event
    assert event.cause == Cause.UNAUTHORIZED
    assert token_of(nudged).due_cause == Cause.SCHEDULE


def test_a_name_that_the_previous_version_left_behind_is_not_believed(connect: Connect) -> None:
    user = connect()
    SpotifyToken.objects.filter(pk=user.pk).update(asked_by="accounts:dashboard")

    refresher.refresh_user(user.pk)

    assert list(user.spotify_auth_events.values_list("cause", "asked_by")[:1]) == [
        (Cause.SCHEDULE, "")
    ]


def test_the_history_tells_which_page_asked(connect: Connect) -> None:
    user = connect(due=False)
    tokens.nudge(user.pk, generation=1, cause=Cause.STALE_READ, requested_by="accounts:dashboard")

    refresher.refresh_user(user.pk)
    make_due(user)
    refresher.refresh_user(user.pk)

    assert list(user.spotify_auth_events.values_list("cause", "asked_by")[:2]) == [
        (Cause.SCHEDULE, ""),
        (Cause.STALE_READ, "accounts:dashboard"),
    ]


def test_a_hundred_complaints_cause_one_refresh(
    connect: Connect,
    spotify: Sandbox,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    user = connect(due=False)

    with django_capture_on_commit_callbacks() as messages:
        changed = [
            tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED) for _ in range(100)
        ]

    assert changed == [True] + [False] * 99
    assert len(messages) == 1
    refresher.refresh_user(user.pk)
    assert not tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED)
    assert refresher.refresh_user(user.pk) is None
    assert spotify.stats()["totals"]["refreshes"] == 1


def test_a_token_that_was_refreshed_a_moment_ago_is_left_alone(connect: Connect) -> None:
    # Else a Web API that refuses good tokens would cause a rotation at each page.
    user = connect()
    refresh_next()

    assert not tokens.nudge(user.pk, generation=2, cause=Cause.UNAUTHORIZED)
    assert tokens.nudge(user.pk, generation=2, cause=Cause.ADMIN)


def test_a_token_that_was_refreshed_in_the_future_is_refreshed_at_once(connect: Connect) -> None:
    # PostgreSQL's clock was a day ahead, and is right again: the token looks fresh, and is dead.
    user = connect(due=False)
    ahead = {name: F(name) + timedelta(days=1) for name in ("refreshed_at", "expires_at", "due_at")}
    SpotifyToken.objects.filter(pk=user.pk).update(**ahead)

    changed = [tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED) for _ in range(2)]

    assert changed == [True, False]
    assert SpotifyToken.objects.filter(pk=user.pk, due_at__lte=Now()).exists()


@pytest.mark.parametrize("suspected", [False, True])
def test_a_token_that_failed_in_the_future_is_asked_for_at_once(
    connect: Connect, suspected: bool
) -> None:
    """Else its page would wait for a day, and would not offer a login before a refusal."""
    user = connect(due=False)
    SpotifyToken.objects.filter(pk=user.pk).update(
        failures=1,
        last_error="http_503",
        suspected_at=Now() if suspected else None,
        due_at=Now() + timedelta(days=1),
        refreshed_at=Now() - timedelta(seconds=200),
        expires_at=Now() - timedelta(seconds=60),
    )

    assert tokens.nudge(user.pk, generation=1, cause=Cause.STALE_READ)

    assert SpotifyToken.objects.filter(pk=user.pk, due_at__lte=Now()).exists()


def test_a_token_that_cannot_be_decrypted_asks_for_a_reconnect(
    connect: Connect, settings: Settings
) -> None:
    user = connect(due=False)
    settings.TOKEN_ENCRYPTION_KEYS = [b"x" * 32]

    with pytest.raises(tokens.ReconnectRequired):
        tokens.access_token_for(user.pk)


def test_a_complaint_about_a_passed_generation_changes_nothing(connect: Connect) -> None:
    user = connect()
    refresh_next()

    assert not tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED)
    assert refresh_next() is None


@pytest.mark.parametrize(
    ("cause", "changes"),
    [
        (Cause.STALE_READ, False),  # pages that are reloaded must not undo the back-off
        (Cause.ADMIN, True),  # an administrator knows why
    ],
)
def test_a_token_that_backs_off_is_left_alone(
    connect: Connect, spotify: Sandbox, cause: Cause, changes: bool
) -> None:
    user = connect()
    spotify.faults(fault="unavailable")
    refresh_next()

    assert tokens.nudge(user.pk, generation=1, cause=cause) is changes


def test_a_suspicion_is_not_confirmed_by_nudging(connect: Connect, spotify: Sandbox) -> None:
    user = connect()
    spotify.faults(fault="false_invalid_grant")
    refresh_next()

    assert not tokens.nudge(user.pk, generation=1, cause=Cause.ADMIN)


def test_a_lost_broker_costs_a_message_and_no_more(
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    monkeypatch: pytest.MonkeyPatch,
    lost_broker: Celery,
) -> None:
    user = connect(due=False)
    monkeypatch.setattr(tokens, "current_app", lost_broker)

    with django_capture_on_commit_callbacks(execute=True):
        assert tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED)

    wait_for(lambda: "nudge_not_sent" in caplog.text, what="the message to fail")
    tokens._wake_a_worker(user.pk)
    assert caplog.text.count("nudge_not_sent") == 1  # said once while it lasts
    assert refresh_next() is not None  # the next sweep finds the row


def test_a_nudge_sends_nothing_where_tasks_are_eager(
    connect: Connect, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    user = connect(due=False)

    with another_app(task_always_eager=True), django_capture_on_commit_callbacks() as callbacks:
        assert tokens.nudge(user.pk, generation=1, cause=Cause.UNAUTHORIZED)

    assert callbacks == []


@pytest.mark.parametrize("key", [7, "ma:ya", UUID(int=7)])
def test_a_key_may_be_a_number_a_text_or_a_uuid(key: Any) -> None:
    name = saved_grants.name_of(key, 3)

    assert tokens.primary_key_of(key) == key
    assert saved_grants.owner_of(name) == (str(key), 3)


def test_a_stale_token_that_no_key_opens_asks_for_a_reconnect(connect: Connect) -> None:
    user = connect(due=False)
    make_due(user, expired=True)
    SpotifyToken.objects.filter(pk=user.pk).update(last_error="undecryptable")

    with pytest.raises(tokens.ReconnectRequired, match="undecryptable"):
        tokens.access_token_for(user.pk)
