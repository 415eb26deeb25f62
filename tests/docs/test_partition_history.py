"""docs/how-to/partition-history.md: its SQL, and the service on the table that it makes."""

import re
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from accounts.models import User
from dev.process import ROOT
from spotify_auth.housekeeping import delete_expired
from spotify_auth.models import Outcome, TokenEvent
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db

PAGE = ROOT / "docs/how-to/partition-history.md"


@pytest.fixture
def earlier(connect: Connect) -> User:
    """A user with an event from before the switch; the table is partitioned now."""
    user = connect("user-0", due=False)
    table, day, switch = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with database.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # the test is one transaction
        cursor.execute(table)
        cursor.execute(day)
        cursor.execute(switch.replace("BEGIN;", "").replace("COMMIT;", ""))
    return user


def test_new_events_continue_the_numbering(earlier: User, connect: Connect) -> None:
    connect("user-1")

    assert refresh_next() is Outcome.REFRESHED

    with database.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM spotify_auth_tokenevent_before")
        (before,) = cursor.fetchone()
    assert [event.outcome for event in TokenEvent.objects.filter(pk__gt=before)] == [
        Outcome.REFRESHED,
        Outcome.CONNECTED,
    ]


def test_failures_are_written_and_judged(earlier: User, connect: Connect, spotify: Sandbox) -> None:
    user = connect("user-1")
    spotify.faults(fault="unavailable", times=1)

    assert refresh_next() is Outcome.RETRY
    assert user.token_events.filter(outcome=Outcome.RETRY).count() == 1


def test_an_event_is_in_the_partition_of_its_day(earlier: User, connect: Connect) -> None:
    connect("user-1")
    TokenEvent.objects.update(at="2030-01-01T12:00:00Z")

    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM spotify_auth_tokenevent_20300101")
        assert cursor.fetchone() == (1,)


def test_house_keeping_deletes_what_is_too_old(earlier: User, connect: Connect) -> None:
    connect("user-1")
    TokenEvent.objects.update(at=Now() - timedelta(days=91))

    delete_expired()

    assert not TokenEvent.objects.exists()


def test_a_user_is_deleted_with_the_history(earlier: User, connect: Connect) -> None:
    user = connect("user-1")
    user.delete()

    assert not TokenEvent.objects.filter(user=user.pk).exists()
