"""People who have not been seen for long: their tokens sleep until a page wakes them."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from spotify_auth.models import Outcome, SpotifyToken
from spotify_auth.refresher import refresh_next, refresh_user
from tests.conftest import Connect, make_due, token_of
from tests.sandbox_client import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = 30


def sleeper(connect: Connect, *, unseen_for: timedelta = timedelta(days=DAYS + 1)) -> User:
    """Somebody whom no page has seen for a while, and whose token is due."""
    user = connect()
    User.objects.filter(pk=user.pk).update(seen_at=Now() - unseen_for)
    return user


def sleeps(user: User) -> bool:
    """Whether the token is due only when its six months are over."""
    return SpotifyToken.objects.filter(pk=user.pk, due_at=F("reauthorize_by")).exists()


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


def test_the_first_page_wakes_the_token(
    connect: Connect, settings: Settings, spotify: Sandbox, client: Client
) -> None:
    settings.REFRESH_DORMANT_AFTER = DAYS
    user = sleeper(connect)
    refresh_next()
    make_expired_asleep(user)
    client.force_login(user)

    page = client.get("/dashboard/")

    assert "Reconnecting to Spotify" in page.content.decode()
    assert refresh_user(user.pk) is Outcome.REFRESHED
    assert not sleeps(user)
    assert "Reconnecting to Spotify" not in client.get("/dashboard/").content.decode()


@pytest.mark.parametrize(
    ("unseen_for", "noted"), [(timedelta(hours=1), False), (timedelta(days=2), True)]
)
def test_a_visit_is_noted_once_a_day(
    connect: Connect, settings: Settings, client: Client, unseen_for: timedelta, noted: bool
) -> None:
    settings.REFRESH_DORMANT_AFTER = DAYS
    user = sleeper(connect, unseen_for=unseen_for)
    client.force_login(user)

    client.get("/connection/")

    lately = User.objects.filter(pk=user.pk, seen_at__gt=Now() - timedelta(minutes=1))
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
