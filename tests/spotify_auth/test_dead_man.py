"""The readers say it when nothing renews tokens any more."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from accounts.models import User
from spotify_auth import chores, dead_man, tokens
from spotify_auth.models import Chore
from spotify_auth.web_api import reading
from tests.support.tokens import Connect, make_due

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "dead_man", dead_man.DeadMan())


def swept(seconds_ago: float) -> None:
    Chore.objects.update_or_create(
        name=chores.SWEEP, defaults={"done_at": Now() - timedelta(seconds=seconds_ago)}
    )


def meet_a_stale_token(user: User) -> None:
    make_due(user, expired=True)
    with pytest.raises(tokens.TokenStale):
        reading.read(user)


def said(caplog: pytest.LogCaptureFixture) -> int:
    return sum(line.levelname == "ERROR" for line in caplog.records)


def test_a_stale_token_and_no_sweep_are_one_error_a_minute(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    user = connect()
    swept(31)

    for _ in range(20):
        meet_a_stale_token(user)

    assert said(caplog) == 1
    assert "renewal_not_running last_sweep_seconds=31" in caplog.text


def test_it_is_said_again_after_a_minute(
    connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_man, "REPEAT_SECONDS", 0.0)
    monkeypatch.setattr(dead_man, "LOOK_AGAIN_SECONDS", 0.0)
    user = connect()

    meet_a_stale_token(user)
    meet_a_stale_token(user)

    assert said(caplog) == 2
    assert "last_sweep_seconds=never" in caplog.text


def test_a_stale_token_alone_is_no_alarm(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    user = connect()
    swept(5)

    meet_a_stale_token(user)

    assert said(caplog) == 0


def test_a_fresh_token_asks_nothing(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    reading.read(connect(due=False))

    assert said(caplog) == 0


@pytest.mark.parametrize(("seconds_ago", "warned"), [(5, False), (31, True)])
@pytest.mark.parametrize("is_staff", [False, True])
def test_pages_say_it_to_the_staff(
    connect: Connect, client: Client, seconds_ago: float, warned: bool, is_staff: bool
) -> None:
    user = connect(due=False)
    User.objects.filter(pk=user.pk).update(is_staff=is_staff)
    client.force_login(user)
    swept(seconds_ago)

    page = client.get("/connection/").content.decode()

    assert ("Renewal is not running" in page) is (warned and is_staff)
