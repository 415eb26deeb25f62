"""House-keeping deletes what is old, and nothing else."""

from datetime import timedelta
from threading import Event

import pytest
from django.contrib.sessions.models import Session
from django.db import close_old_connections
from django.db import connection as database
from django.db.models.functions import Now

from spotify_auth import chores, connections, housekeeping, tasks
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.figures import roll_up
from spotify_auth.history import pruning
from spotify_auth.housekeeping import delete_expired
from spotify_auth.models import Presence, SpotifyToken, TokenEvent, UsedLogin
from spotify_auth.presence import Sign
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from tests.support.claims import begin, claim_of
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db


def test_deletes_events_past_their_retention(connect: Connect) -> None:
    old, recent = connect("user-1"), connect("user-2")
    old.spotify_auth_events.update(at=Now() - timedelta(days=401))
    recent.spotify_auth_events.update(at=Now() - timedelta(days=399))

    delete_expired()

    assert [event.user_id for event in TokenEvent.objects.all()] == [recent.pk]


def test_deletes_many_events_in_several_transactions(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP", 2)
    for n in range(5):
        connect(f"user-{n}")
    TokenEvent.objects.update(at=Now() - timedelta(days=401))

    delete_expired()

    assert not TokenEvent.objects.exists()


def test_deletes_used_logins_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "AT_ONCE", 2)
    for n in range(5):
        UsedLogin.objects.create(state_digest=str(n), used_at=Now() - timedelta(minutes=21))
    UsedLogin.objects.create(state_digest="recent", used_at=Now())

    delete_expired()

    assert [used.pk for used in UsedLogin.objects.all()] == ["recent"]


def test_deletes_signs_of_processes_that_are_gone_for_an_hour() -> None:
    for kind, minutes in ((Presence.Kind.WORKER, 59), (Presence.Kind.BEAT, 61)):
        Sign(kind).show()
        Presence.objects.filter(kind=kind).update(seen_at=Now() - timedelta(minutes=minutes))

    delete_expired()

    assert Presence.objects.get().kind == Presence.Kind.WORKER


def test_deletes_saved_grants_whose_token_no_longer_needs_them(connect: Connect) -> None:
    waiting, refused, ahead, passed, left, gone = (connect(f"user-{n}") for n in range(6))
    everybody = [user.pk for user in (waiting, refused, ahead, passed, left, gone)]
    grant = Grant(access_token="a", refresh_token="r", expires_in=3600, scope="")
    for user_id in everybody:
        saved = SavedGrant(grant=grant, issued_at=str(token_of(waiting).refreshed_at))
        assert saved_grants.save(claim_of(user_id, 2), saved)
    SpotifyToken.objects.exclude(pk=ahead.pk).update(generation=2)
    SpotifyToken.objects.filter(pk=refused.pk).update(status="reconnect_required")
    SpotifyToken.objects.filter(pk=passed.pk).update(generation=3)
    connections.disconnect(user_id=left.pk)
    gone.delete()

    delete_expired()

    kept = [user_id for user_id in everybody if begin(user_id, 2).known_answer]
    assert kept == [waiting.pk, refused.pk, ahead.pk]


def test_deletes_expired_sessions() -> None:
    Session.objects.create(session_key="old", expire_date=Now() - timedelta(days=1))
    Session.objects.create(session_key="new", expire_date=Now() + timedelta(days=1))

    delete_expired()

    assert [session.session_key for session in Session.objects.all()] == ["new"]


def test_ends_between_two_steps_when_the_worker_stops(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP", 1)
    monkeypatch.setattr(chores, "stopping", Event())
    for n in range(3):
        connect(f"user-{n}")
    TokenEvent.objects.update(at=Now() - timedelta(days=401))
    roll_up.roll_up()
    chores.stopping.set()

    tasks.house_keeping()

    assert TokenEvent.objects.count() == 2
    chores.stopping.clear()
    tasks.house_keeping()  # it was given back
    assert TokenEvent.objects.count() == 0


def test_keeps_house_once_an_hour(connect: Connect) -> None:
    tasks.house_keeping()
    connect("user-1")
    TokenEvent.objects.update(at=Now() - timedelta(days=401))

    tasks.house_keeping()

    assert TokenEvent.objects.count() == 1


def test_deletes_many_sessions_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "AT_ONCE", 2)
    for n in range(5):
        Session.objects.create(session_key=str(n), expire_date=Now() - timedelta(days=1))

    delete_expired()

    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_task_leaves_a_server_that_takes_no_changes() -> None:
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")  # a primary that was demoted
    assert tasks.house_keeping.apply().failed()

    close_old_connections()  # the next task of this thread begins

    assert tasks.house_keeping.apply().successful()
