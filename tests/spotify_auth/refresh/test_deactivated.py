"""Deactivated users: their tokens are not refreshed, and sleep until they are active again."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client

from accounts.models import User
from spotify_auth import tokens
from spotify_auth.models import Cause, Outcome, SpotifyToken
from spotify_auth.refresh import claims
from spotify_auth.refresh.refresher import refresh_user
from tests.support.admin import enter_admin
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)


def deactivate(*users: User, active: bool = False) -> None:
    """As a shell, a bulk action or somebody else's program may do it: without a signal."""
    User.objects.filter(pk__in=[user.pk for user in users]).update(is_active=active)


def exchanges(spotify: Sandbox) -> int:
    count: int = spotify.stats()["totals"]["refreshes_attempted"]
    return count


def sleeps(user: User) -> bool:
    """Whether the token is due in a day."""
    near = Now() + timedelta(hours=23)
    return SpotifyToken.objects.filter(pk=user.pk, due_at__gt=near, status="active").exists()


def test_a_deactivated_users_token_is_not_refreshed(connect: Connect, spotify: Sandbox) -> None:
    left, stays = connect("user-1"), connect("user-2")
    deactivate(left)

    outcomes = [refresh_next() for _ in range(3)]

    assert outcomes == [Outcome.RETRY, Outcome.REFRESHED, None]
    assert [token_of(user).generation for user in (left, stays)] == [1, 2]
    assert exchanges(spotify) == 1
    assert sleeps(left)
    token = token_of(left)
    assert (token.failures, token.last_error) == (0, "")
    assert left.spotify_auth_events.count() == 1  # connected: sleeping is no event


def test_not_even_for_an_administrator(connect: Connect, spotify: Sandbox) -> None:
    user = connect(due=False)
    deactivate(user)

    assert tokens.nudge(user.pk, generation=1, cause=Cause.ADMIN, requested_by="root")
    refresh_user(user.pk)

    assert exchanges(spotify) == 0


def test_a_verdict_is_not_appealed(connect: Connect, spotify: Sandbox) -> None:
    user = connect(due=False)
    SpotifyToken.objects.update(status="reconnect_required", appeal_at=Now() - timedelta(minutes=1))
    deactivate(user)

    assert refresh_next() is Outcome.RETRY
    assert refresh_next() is None

    assert exchanges(spotify) == 0
    assert token_of(user).status == SpotifyToken.Status.RECONNECT_REQUIRED


def test_a_token_of_somebody_active_again_is_refreshed_within_a_day(connect: Connect) -> None:
    user = connect()
    deactivate(user)
    refresh_next()
    deactivate(user, active=True)
    assert refresh_next() is None
    SpotifyToken.objects.update(due_at=F("due_at") - timedelta(days=1))

    assert refresh_next() is Outcome.REFRESHED


def test_the_first_page_of_somebody_active_again_wakes_it(connect: Connect, client: Client) -> None:
    user = connect()
    make_due(user, expired=True)
    deactivate(user)
    refresh_next()
    deactivate(user, active=True)
    client.force_login(user)

    client.get("/dashboard/")

    assert refresh_next() is Outcome.REFRESHED


def test_the_admin_wakes_it_at_once(connect: Connect, client: Client) -> None:
    user = connect()
    make_due(user, expired=True)
    deactivate(user)
    refresh_next()
    enter_admin(client, User.objects.create_superuser("root"))
    form = {"username": "", "first_name": "", "last_name": "", "is_active": "on"}

    client.post(f"/admin/accounts/user/{user.pk}/change/", form)

    assert refresh_next() is Outcome.REFRESHED


def test_the_users_row_is_neither_locked_nor_searched_for(connect: Connect) -> None:
    connect()
    sql = claims.FROM_START
    with database.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")  # in a table as small as this
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")

    assert "Index Scan using accounts_user_pkey on accounts_user" in plan
    assert plan.count("LockRows") == 1
    assert plan.index("LockRows") < plan.index("SubPlan")
