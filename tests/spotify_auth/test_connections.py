"""Connect, reconnect, disconnect, revoke."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.expressions import RawSQL

from accounts.models import User
from spotify_auth import connections
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import Outcome, SpotifyToken
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, token_of, waiting_for_a_lock

pytestmark = pytest.mark.django_db

GRANT = Grant(access_token="access", refresh_token="refresh", expires_in=3600, scope="streaming")


def outcomes(user: User) -> list[str]:
    return list(user.spotify_auth_events.values_list("outcome", flat=True))


def test_the_first_connection_starts_generation_one() -> None:
    user = User.objects.create(account_id="a")
    now = connections.database_now()

    connections.connect(user_id=user.pk, grant=GRANT, issued_at=now)

    token = token_of(user)
    assert (token.generation, token.access_token, token.refresh_token) == (1, "access", "refresh")
    assert token.authorized_at == token.refreshed_at == now
    assert token.expires_at == now + timedelta(seconds=3600)
    assert now + timedelta(seconds=2520) <= token.due_at <= now + timedelta(seconds=2880)
    assert outcomes(user) == [Outcome.CONNECTED]


@pytest.mark.parametrize(
    ("authorized", "by"),
    [
        ("2026-01-15T12:00:00+00:00", "2026-07-15T12:00:00+00:00"),
        ("2026-08-31T12:00:00+00:00", "2027-02-28T12:00:00+00:00"),  # a shorter month
    ],
)
def test_the_user_must_approve_again_within_six_months(authorized: str, by: str) -> None:
    user = User.objects.create(account_id="a")

    connections.connect(user_id=user.pk, grant=GRANT, issued_at=datetime.fromisoformat(authorized))

    assert token_of(user).reauthorize_by == datetime.fromisoformat(by)


def test_a_refresh_does_not_extend_the_six_months(connect: Connect) -> None:
    user = connect()
    before = token_of(user)

    refresh_next()

    after = token_of(user)
    assert (after.authorized_at, after.reauthorize_by) == (
        before.authorized_at,
        before.reauthorize_by,
    )


def test_reconnecting_replaces_in_place_and_forgives_everything(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    spotify.revoke("user-1")
    refresh_next()
    SpotifyToken.objects.update(
        status=SpotifyToken.Status.RECONNECT_REQUIRED, failures=7, last_error="invalid_grant"
    )

    connect()

    token = token_of(user)
    assert (token.status, token.failures, token.suspected_at, token.last_error) == (
        "active",
        0,
        None,
        "",
    )
    assert token.generation == 2
    assert refresh_next() is Outcome.REFRESHED


def test_a_login_that_began_earlier_does_not_overwrite_a_later_one() -> None:
    user = User.objects.create(account_id="a")
    later = connections.database_now()
    earlier = later - timedelta(seconds=1)
    newer = Grant(access_token="new", refresh_token="new", expires_in=3600, scope="")
    connections.connect(user_id=user.pk, grant=newer, issued_at=later)

    connections.connect(user_id=user.pk, grant=GRANT, issued_at=earlier)

    assert token_of(user).access_token == "new"
    assert len(outcomes(user)) == 1


@pytest.mark.parametrize("generation", [1, 2])
def test_a_token_that_spotify_refuses_keeps_no_login_out(generation: int) -> None:
    user = User.objects.create(account_id="a")
    later = connections.database_now()
    dead = Grant(access_token="dead", refresh_token="dead", expires_in=3600, scope="")
    connections.connect(user_id=user.pk, grant=dead, issued_at=later)
    SpotifyToken.objects.update(
        status=SpotifyToken.Status.RECONNECT_REQUIRED, generation=generation
    )

    connected = connections.connect(
        user_id=user.pk, grant=GRANT, issued_at=later - timedelta(seconds=1)
    )

    token = token_of(user)
    assert (connected, token.status, token.access_token) == (True, "active", "access")
    assert token.generation == generation + 1


def test_a_time_in_the_future_keeps_no_login_out() -> None:
    # PostgreSQL's clock was a day ahead, and is right again.
    user = User.objects.create(account_id="a")
    now = connections.database_now()
    connections.connect(user_id=user.pk, grant=GRANT, issued_at=now + timedelta(days=1))

    newer = Grant(access_token="new", refresh_token="new", expires_in=3600, scope="")
    assert connections.connect(user_id=user.pk, grant=newer, issued_at=now)

    assert token_of(user).access_token == "new"
    connections.disconnect(user_id=user.pk)
    SpotifyToken.objects.update(closed_at=now + timedelta(days=1))
    assert connections.connect(user_id=user.pk, grant=GRANT, issued_at=now)


@pytest.mark.django_db(transaction=True)
def test_a_login_that_waited_for_a_newer_one_does_not_replace_it(elsewhere: Elsewhere) -> None:
    # The newer time is later than the beginning of the waiting transaction: not "in the future".
    user = User.objects.create(account_id="a")
    earlier = connections.database_now()
    connections.connect(user_id=user.pk, grant=GRANT, issued_at=earlier)
    with transaction.atomic():
        SpotifyToken.objects.select_for_update().get(pk=user.pk)
        late = elsewhere(connections.connect, user_id=user.pk, grant=GRANT, issued_at=earlier)
        wait_for(lambda: waiting_for_a_lock() == 1, what="the older login")
        SpotifyToken.objects.filter(pk=user.pk).update(
            authorized_at=RawSQL("clock_timestamp()", ()), scope="of the newer login"
        )

    assert late.result(10) is False
    assert token_of(user).scope == "of the newer login"


@pytest.mark.parametrize("close", [connections.disconnect, connections.revoke])
def test_a_login_that_began_before_the_tokens_were_erased_is_void(
    connect: Connect, close: Callable[..., bool]
) -> None:
    user = connect()
    began = connections.database_now()
    close(user_id=user.pk)

    connections.connect(user_id=user.pk, grant=GRANT, issued_at=began)

    assert token_of(user).refresh_token is None
    later = began + timedelta(minutes=1)
    connections.connect(user_id=user.pk, grant=GRANT, issued_at=later)
    assert token_of(user).refresh_token == "refresh"


def test_a_grant_without_a_refresh_token_is_refused() -> None:
    user = User.objects.create(account_id="a")
    grant = Grant(access_token="a", refresh_token=None, expires_in=3600, scope="")

    with pytest.raises(ValueError, match="refresh token"):
        connections.connect(user_id=user.pk, grant=grant, issued_at=connections.database_now())


@pytest.mark.parametrize(
    ("close", "status"),
    [(connections.disconnect, "disconnected"), (connections.revoke, "revoked")],
)
def test_closing_erases_both_tokens_and_keeps_the_history(
    connect: Connect, close: object, status: str
) -> None:
    user = connect()

    assert close(user_id=user.pk) is True  # type: ignore[operator]

    token = token_of(user)
    assert (token.status, token.access_token, token.refresh_token) == (status, None, None)
    assert outcomes(user) == [status, Outcome.CONNECTED]
    assert close(user_id=user.pk) is False  # type: ignore[operator]
    assert refresh_next() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "active", "access_token": None},  # connected without a token
        {"status": "revoked"},  # revoked and still holding one
    ],
)
def test_the_database_refuses_a_status_that_contradicts_the_tokens(
    connect: Connect, changes: dict[str, object]
) -> None:
    connect()

    with pytest.raises(IntegrityError), transaction.atomic():
        SpotifyToken.objects.update(**changes)


def test_deleting_the_user_deletes_everything(connect: Connect) -> None:
    user = connect()

    user.delete()

    assert not SpotifyToken.objects.exists()


def connect_account(user: User, account_id: str | None) -> bool:
    now = connections.database_now()
    return connections.connect(user_id=user.pk, grant=GRANT, issued_at=now, account_id=account_id)


def test_the_account_is_kept_with_the_token() -> None:
    user = User.objects.create(username="ada")

    assert connect_account(user, "acc")
    assert connect_account(user, None)  # from a source that does not know it

    assert (token_of(user).account_id, token_of(user).generation) == ("acc", 2)


def test_an_account_is_learnt_by_the_next_login() -> None:
    user = User.objects.create(username="ada")
    connect_account(user, None)

    connect_account(user, "acc")

    assert token_of(user).account_id == "acc"


def test_a_different_account_is_refused_until_the_tokens_are_erased() -> None:
    user = User.objects.create(username="ada")
    connect_account(user, "acc")

    with pytest.raises(connections.DifferentAccount):
        connect_account(user, "other")

    assert (token_of(user).account_id, outcomes(user)) == ("acc", [Outcome.CONNECTED])
    connections.disconnect(user_id=user.pk)
    SpotifyToken.objects.update(closed_at=F("authorized_at"))  # before this transaction began
    assert connect_account(user, "other")
    assert token_of(user).account_id == "other"


def test_a_late_login_of_the_same_account_is_no_conflict() -> None:
    user = User.objects.create(username="ada")
    began = connections.database_now() - timedelta(minutes=1)
    connect_account(user, "acc")

    stored = connections.connect(user_id=user.pk, grant=GRANT, issued_at=began, account_id="acc")

    assert not stored
    assert token_of(user).generation == 1


def test_an_account_of_another_user_is_refused() -> None:
    connect_account(User.objects.create(username="ada"), "acc")
    bob = User.objects.create(username="bob")

    with pytest.raises(connections.AccountTaken):
        connect_account(bob, "acc")

    assert not SpotifyToken.objects.filter(pk=bob.pk).exists()


@pytest.mark.parametrize("closed", ["active", "revoked", "exported", "disconnected"])
def test_only_the_account_of_a_user_who_has_disconnected_it_may_be_another_users(
    closed: str,
) -> None:
    ada, bob = User.objects.create(username="ada"), User.objects.create(username="bob")
    connect_account(ada, "acc")
    if closed == "revoked":
        connections.revoke(user_id=ada.pk)
    elif closed != "active":
        connections.disconnect(user_id=ada.pk)
    if closed == "exported":
        SpotifyToken.objects.update(closed_at=None)
    now = connections.database_now()
    connect = partial(
        connections.connect, user_id=bob.pk, grant=GRANT, issued_at=now, account_id="acc"
    )

    with pytest.raises(connections.AccountTaken):
        connect()
    if closed == "disconnected":
        assert connect(from_disconnected=True)
    else:
        with pytest.raises(connections.AccountTaken):
            connect(from_disconnected=True)

    assert token_of(ada).account_id == (None if closed == "disconnected" else "acc")


@pytest.mark.django_db(transaction=True)
def test_two_users_who_connect_one_account_at_once_do_not_both_get_it(
    elsewhere: Elsewhere,
) -> None:
    ada, bob = User.objects.create(username="ada"), User.objects.create(username="bob")
    stored, commit = Event(), Event()

    def connect_slowly() -> None:
        with transaction.atomic():
            connect_account(ada, "acc")
            stored.set()
            commit.wait(timeout=20)

    first = elsewhere(connect_slowly)
    assert stored.wait(timeout=20)  # and not committed: nobody else sees it
    second = elsewhere(connect_account, bob, "acc")
    wait_for(waiting_for_a_lock, what="the second to wait for the first")
    commit.set()

    first.result()
    with pytest.raises(connections.AccountTaken):
        second.result()
    assert SpotifyToken.objects.get().user == ada
