"""A sign of life never holds up the process that leaves it."""

from concurrent.futures import Future
from threading import Event

import pytest
from django.db import connection as database
from django.db import transaction

from spotify_auth import presence
from spotify_auth.models import Presence
from spotify_auth.presence import Sign
from tests.support.tokens import Elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_sign_that_is_not_taken_in_time_is_one_line(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(presence, "LONGEST_SECONDS", 0.1)
    locked, done = Event(), Event()

    def hold() -> None:
        with transaction.atomic(), database.cursor() as cursor:
            cursor.execute("LOCK TABLE spotify_auth_presence IN SHARE MODE")
            locked.set()
            done.wait(60)

    holding: Future[object] = elsewhere(hold)
    assert locked.wait(30)
    sign = Sign(Presence.Kind.BEAT)

    sign.show()
    sign.show()

    assert not holding.done()  # it did not wait for the lock to go
    assert caplog.messages == ["presence_not_noted reason=OperationalError"]
    done.set()
    holding.result(30)
    monkeypatch.setattr(presence, "LONGEST_SECONDS", 30.0)
    sign.show()
    assert len(presence.seen()) == 1


def test_a_sign_written_before_the_clock_was_set_back_is_old() -> None:
    Sign(Presence.Kind.WORKER, lanes_allowed=8).show()
    with database.cursor() as cursor:
        cursor.execute("UPDATE spotify_auth_presence SET seen_at = seen_at + interval '1 hour'")

    (seen,) = presence.seen()

    assert not seen.is_there
