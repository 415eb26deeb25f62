"""People who have not been seen for long: their tokens sleep until a page wakes them."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from spotify_auth.models import LastSeen, Outcome, SpotifyToken
from spotify_auth.refresh.refresher import refresh_user
from tests.support.database_faults import locked_elsewhere
from tests.support.lanes import refresh_next
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = 30


def sleeper(connect: Connect, *, unseen_for: timedelta = timedelta(days=DAYS + 1)) -> User:
    """Somebody whom no page has seen for a while, and whose token is due."""
    user = connect()
    LastSeen.objects.update_or_create(user=user, defaults={"seen_at": Now() - unseen_for})
    return user


def sleeps(user: User) -> bool:
    """Whether the token is due only when its six months are over."""
    return SpotifyToken.objects.filter(pk=user.pk, due_at=F("reauthorize_by")).exists()


@pytest.fixture
def asleep(connect: Connect, settings: Settings, client: Client) -> User:
    """Somebody whose token sleeps, logged in in `client`."""
    settings.REFRESH_DORMANT_AFTER = DAYS
    user = sleeper(connect)
    assert refresh_next() is Outcome.REFRESHED
    assert sleeps(user)
    client.force_login(user)
    return user


def test_off_by_default(connect: Connect) -> None:
    user = sleeper(connect)

    assert refresh_next() is Outcome.REFRESHED

    assert not sleeps(user)


def test_the_last_refresh_of_somebody_unseen_lets_the_token_sleep(
    connect: Connect, settings: Settings
) -> None:
    settings.REFRESH_DORMANT_AFTER = DAYS
    user = sleeper(connect)
    awake = connect("user-2")

    assert [refresh_next() for _ in range(3)] == [Outcome.REFRESHED, Outcome.REFRESHED, None]

    assert sleeps(user)
    assert not sleeps(awake)


def test_the_first_page_wakes_the_token(asleep: User, client: Client) -> None:
    make_expired_asleep(asleep)

    page = client.get("/dashboard/")

    assert "Reconnecting to Spotify" in page.content.decode()
    assert refresh_user(asleep.pk) is Outcome.REFRESHED
    assert not sleeps(asleep)
    assert "Reconnecting to Spotify" not in client.get("/dashboard/").content.decode()


def test_a_visit_wakes_a_token_before_it_dies(asleep: User, client: Client) -> None:
    assert "Reconnecting to Spotify" not in client.get("/dashboard/").content.decode()

    assert [refresh_next() for _ in range(2)] == [Outcome.REFRESHED, None]
    assert not sleeps(asleep)


def test_a_visit_wakes_nobody_who_backs_off(connect: Connect, client: Client) -> None:
    user = sleeper(connect)
    waits = {"failures": 1, "due_at": Now() + timedelta(hours=2)}
    SpotifyToken.objects.filter(pk=user.pk).update(**waits)
    client.force_login(user)

    client.get("/connection/")

    assert refresh_next() is None


def test_a_visit_does_not_wait_for_an_exchange(asleep: User, client: Client) -> None:
    row = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with locked_elsewhere(row, asleep.pk), database.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")

        assert client.get("/connection/").status_code == 200

        cursor.execute("RESET lock_timeout")
    assert LastSeen.objects.filter(pk=asleep.pk, seen_at__gt=Now() - timedelta(minutes=1)).exists()


@pytest.mark.parametrize(
    ("unseen_for", "noted"), [(timedelta(hours=1), False), (timedelta(days=2), True)]
)
def test_a_visit_is_noted_once_a_day(
    connect: Connect, client: Client, unseen_for: timedelta, noted: bool
) -> None:
    # Dormancy is off: who turns it on must find who was here lately.
    user = sleeper(connect, unseen_for=unseen_for)
    client.force_login(user)

    client.get("/connection/")

    lately = LastSeen.objects.filter(pk=user.pk, seen_at__gt=Now() - timedelta(minutes=1))
    assert lately.exists() is noted


def make_expired_asleep(user: User) -> None:
    """Let the access token of a sleeping row expire, without waking it."""
    due_at = token_of(user).due_at
    make_due(user, expired=True)
    SpotifyToken.objects.filter(pk=user.pk).update(due_at=due_at)


def test_a_token_that_outlives_its_six_months_is_not_refreshed_again_at_once(
    connect: Connect, settings: Settings
) -> None:
    settings.REFRESH_DORMANT_AFTER = DAYS
    user = sleeper(connect)
    SpotifyToken.objects.filter(pk=user.pk).update(reauthorize_by=Now() - timedelta(days=1))

    assert [refresh_next() for _ in range(2)] == [Outcome.REFRESHED, None]
