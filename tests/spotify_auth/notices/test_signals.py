"""Each change of a token's state is one notice and one signal, and nothing else is."""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse

from accounts.deletion import delete_account
from accounts.models import User
from spotify_auth import connections, cooldown, sentences, signals, verbs
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.cooldown import Reason
from spotify_auth.models import Notice, Outcome, SpotifyToken
from spotify_auth.notices import pauses
from spotify_auth.refresh import saved_grants
from spotify_auth.refresh.decisions import SavedGrant
from spotify_auth.refresh.refresher import refresh_user
from spotify_auth.verbs import Operator
from tests.support.claims import claim_of
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.signals import ALL, Heard, names
from tests.support.tokens import Connect, grant_of, make_due, make_long_refused, token_of

pytestmark = pytest.mark.django_db(transaction=True)


def refuse(user: User) -> None:
    """Let Spotify refuse a token until that is believed."""
    while token_of(user).status == SpotifyToken.Status.ACTIVE:
        make_long_refused(user)
        refresh_next()


def let_the_appeal_come(user: User) -> Outcome | None:
    SpotifyToken.objects.filter(pk=user.pk).update(appeal_at=Now() - timedelta(seconds=1))
    return refresh_next()


def test_a_token_is_told_of_at_each_change_of_its_state_once(
    connect: Connect, spotify: Sandbox, heard: Heard
) -> None:
    user = connect()
    assert names(heard) == ["token_connected"]
    assert refresh_next() is Outcome.REFRESHED
    assert names(heard) == ["token_refreshed"]

    spotify.faults("false_invalid_grant")
    for _ in range(2):
        make_due(user)
        assert refresh_next() is Outcome.SUSPECTED
    assert names(heard) == ["token_suspected"]
    spotify.clear()
    make_due(user)
    assert refresh_next() is Outcome.REFRESHED
    assert heard[0][1]["reason"] == "after_suspicion"
    assert names(heard) == ["token_recovered", "token_refreshed"]

    spotify.faults("false_invalid_grant")
    refuse(user)
    assert heard[1][1]["sentence"] == sentences.why_reconnect("invalid_grant")
    assert names(heard) == ["token_suspected", "reconnect_required"]
    assert let_the_appeal_come(user) is Outcome.RECONNECT_REQUIRED
    assert names(heard) == []
    spotify.clear()
    assert let_the_appeal_come(user) is Outcome.REFRESHED
    assert heard[0][1]["reason"] == "after_verdict"
    assert names(heard) == ["token_recovered", "token_refreshed"]

    connections.disconnect(user_id=user.pk)
    assert not connections.revoke(user_id=user.pk)  # there is nothing left to erase
    assert names(heard) == ["token_closed"]
    delete_account(user)
    assert heard[0][1]["reason"] == "user_deleted"
    assert names(heard) == ["token_closed"]

    kinds = Notice.objects.order_by("at").values_list("kind", flat=True)
    assert list(kinds) == ["token.closed"]  # the others are gone with the user


def test_a_signal_says_what_its_notice_says(connect: Connect, heard: Heard) -> None:
    user = connect()
    connections.revoke(user_id=user.pk, reason="a word that only the history keeps")

    for (_, said), notice in zip(heard, Notice.objects.order_by("at"), strict=True):
        about: dict[str, Any] = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in said.items()
            if name not in {"signal", "sender", "notice_id", "at"}
        }
        assert said["sender"] is SpotifyToken
        assert (said["notice_id"], said["at"]) == (notice.pk, notice.at)
        stored = notice.data
        if "reauthorize_by" in stored:
            for data in (about, stored):
                data["reauthorize_by"] = datetime.fromisoformat(data["reauthorize_by"]).date()
        assert about == stored
        assert stored["user_id"] == user.pk


def test_nothing_is_told_of_what_is_not_committed(connect: Connect, heard: Heard) -> None:
    user = connect()
    names(heard)

    with transaction.atomic():
        connections.disconnect(user_id=user.pk)
        assert names(heard) == []
        transaction.set_rollback(True)

    assert names(heard) == []
    assert Notice.objects.count() == 1


def test_a_receiver_that_fails_hurts_nobody_and_its_words_are_not_logged(
    connect: Connect, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    user = connect()
    secret = str(token_of(user).refresh_token)

    def fail(said: str, **arguments: object) -> None:
        raise RuntimeError(said)

    failing = partial(fail, secret)  # it has no name either
    signals.token_refreshed.connect(failing)
    caplog.set_level(logging.DEBUG)
    try:
        assert refresh_next() is Outcome.REFRESHED
    finally:
        signals.token_refreshed.disconnect(failing)

    assert "token_refreshed" in names(heard)
    assert token_of(user).generation == 2
    assert "receiver_failed receiver=partial reason=RuntimeError" in caplog.text
    assert secret not in caplog.text


def test_a_grant_that_is_stored_late_ends_the_suspicion_that_began_meanwhile(
    connect: Connect, spotify: Sandbox, heard: Heard
) -> None:
    """A lane lost PostgreSQL after its claim, and another one was refused before it could store."""
    user, well = connect("user-1"), connect("user-2", due=False)
    late = claim_of(user.pk, claimed_at=str(connections.database_now()))
    other = claim_of(well.pk, claimed_at=str(connections.database_now()))
    grant: Grant = grant_of(spotify.connect(["user-1"])["user-1"])
    spotify.faults("false_invalid_grant", times=1)
    assert refresh_next() is Outcome.SUSPECTED
    names(heard)

    for claim in (late, other):
        saved = SavedGrant(grant=grant, issued_at=claim.claimed_at)
        assert saved_grants._stored_directly(claim, saved)

    assert names(heard) == ["token_recovered", "token_refreshed", "token_refreshed"]
    assert token_of(user).suspected_at is None


def test_a_suspicion_that_an_operator_has_ended_is_not_ended_again_by_a_late_grant(
    connect: Connect, spotify: Sandbox, heard: Heard
) -> None:
    user = connect()
    late = claim_of(user.pk, claimed_at=str(connections.database_now()))
    spotify.faults("false_invalid_grant", times=1)
    assert refresh_next() is Outcome.SUSPECTED
    verbs.forgive(user.pk, operator=Operator.named("somebody"), reason="ticket 17")
    assert names(heard)[-2:] == ["token_suspected", "token_recovered"]

    grant = grant_of(spotify.connect(["user-1"])["user-1"])
    saved = SavedGrant(grant=grant, issued_at=late.claimed_at)
    assert saved_grants._stored_directly(late, saved)

    assert names(heard) == ["token_refreshed"]
    assert token_of(user).generation == 2


def test_a_login_ends_a_verdict_as_a_connection(
    connect: Connect, spotify: Sandbox, heard: Heard
) -> None:
    user = connect()
    spotify.revoke("user-1")
    refuse(user)
    names(heard)

    connect()

    assert names(heard) == ["token_connected"]
    make_due(user)
    refresh_user(user.pk)
    assert names(heard) == ["token_refreshed"]


def test_the_page_that_asks_for_a_reconnect_says_the_same(
    connect: Connect, spotify: Sandbox, client: Any
) -> None:
    user = connect()
    spotify.revoke("user-1")
    refuse(user)
    client.force_login(user)

    page = client.get(reverse("accounts:connection")).content.decode()

    assert Notice.objects.get(kind="token.reconnect_required").data["sentence"] in page


def test_what_operators_do_is_told_too(connect: Connect, spotify: Sandbox, heard: Heard) -> None:
    user = connect()
    act: dict[str, Any] = {"operator": Operator.named("somebody"), "reason": "ticket 17"}
    names(heard)

    verbs.pause(user.pk, **act)
    verbs.pause(user.pk, **act)
    verbs.resume(user.pk, **act)
    assert [said["status"] for _, said in heard] == ["paused", "active"]
    assert names(heard) == ["token_paused", "token_resumed"]

    for _ in range(2):  # the same generation may be condemned and taken back again and again
        verbs.require_reconnect(user.pk, **act)
        verbs.require_reconnect(user.pk, **act)
        assert heard[0][1]["sentence"] == sentences.why_reconnect("required_by_admin")
        verbs.forgive(user.pk, **act)
        assert [said["status"] for _, said in heard] == ["reconnect_required", "active"]
        assert names(heard) == ["reconnect_required", "token_recovered"]

    spotify.faults("false_invalid_grant")
    make_due(user)
    refresh_next()
    verbs.forgive(user.pk, **act)
    make_due(user)
    refresh_next()
    verbs.believe(user.pk, **act)
    verbs.require_reconnect(user.pk, **act)  # ends the appeals: the verdict was told of
    assert names(heard) == [
        *("token_suspected", "token_recovered", "token_suspected", "reconnect_required"),
    ]

    verbs.pause_all(**act)
    verbs.pause_all(**act)
    verbs.resume_all(**act)
    cooldown.start(Reason.RATE_LIMITED, seconds=60)
    pauses.look()
    verbs.lift_cooldown(**act)
    assert [said["reason"] for _, said in heard] == ["operator"] * 2 + ["rate_limited"] * 2
    assert names(heard) == ["service_paused", "service_resumed"] * 2
    told = Notice.objects.exclude(kind="token.connected").values_list("data", flat=True)
    assert "ticket 17" not in str(list(told))


def test_every_signal_explains_itself() -> None:
    assert len(ALL) == 11
    source = signals.__file__
    with open(source, encoding="utf-8") as file:
        text = file.read()
    for name in ALL:
        assert f'\n{name} = NoticeSignal()\n"""' in text
