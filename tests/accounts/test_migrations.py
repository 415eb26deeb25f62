"""Moving accounts and visits to spotify_auth, while lanes hold the rows and pages read them."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection as database
from django.db.models.functions import Now

from accounts.models import User
from spotify_auth.models import LastSeen, SpotifyToken
from spotify_auth.refresh.refresher import refresh_user
from tests.support.database_faults import locked_elsewhere
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, token_of, waiting_for_a_lock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _migrated_again(transactional_db: None) -> Iterator[None]:
    """Leave the database as the other tests want it."""
    yield
    call_command("migrate", verbosity=0)


def migrate(app: str, name: str = "") -> None:
    call_command("migrate", app, *([name] if name else []), verbosity=0)


def account_known(user: User) -> bool:
    return SpotifyToken.objects.filter(pk=user.pk, account_id__isnull=False).exists()


def test_accounts_are_copied_and_a_row_that_a_lane_holds_is_waited_for(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    held, free = connect("user-1"), connect("user-2")
    migrate("accounts", "0003")
    SpotifyToken.objects.update(account_id=None)
    spotify.faults("hold", times=1)
    lane = elsewhere(refresh_user, held.pk)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")

    migration = elsewhere(migrate, "accounts")

    wait_for(lambda: account_known(free), what="the row that is free")
    # Nothing waits for the lane, and nobody for the migration.
    assert refresh_user(free.pk) is not None
    assert waiting_for_a_lock() == 0
    assert not account_known(held)
    assert not migration.done()
    spotify.release()
    lane.result()
    migration.result()
    for user in (held, free):
        token = token_of(user)
        assert (token.account_id, token.generation) == (user.account_id, 2)


def test_visits_are_copied_and_later_ones_stay(connect: Connect) -> None:
    copied, later = connect("user-1", due=False), connect("user-2", due=False)
    migrate("accounts", "0003")
    for user in (copied, later):
        User.objects.filter(pk=user.pk).update(seen_at=Now() - timedelta(days=40))
    LastSeen.objects.create(user=later, seen_at=Now() - timedelta(days=3))

    migrate("accounts")

    with database.cursor() as cursor:
        cursor.execute(
            "SELECT user_id, extract(day FROM now() - seen_at) FROM spotify_auth_lastseen"
        )
        assert dict(cursor.fetchall()) == {copied.pk: 40, later.pk: 3}


def test_a_visit_that_the_previous_version_notes_is_copied(connect: Connect) -> None:
    user = connect(due=False)

    User.objects.filter(pk=user.pk).update(seen_at=Now())

    assert LastSeen.objects.filter(pk=user.pk, seen_at__gt=Now() - timedelta(minutes=1)).exists()


def test_a_new_column_holds_up_no_reader_while_a_lane_has_the_table(
    connect: Connect, elsewhere: Elsewhere
) -> None:
    user = connect()
    migrate("spotify_auth", "0007")
    claim = "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE"
    with locked_elsewhere(claim, user.pk):
        migration = elsewhere(migrate, "spotify_auth")
        wait_for(waiting_for_a_lock, what="the migration to wait for the table")

        with database.cursor() as cursor:  # behind the migration, in the queue for the table
            cursor.execute("SET statement_timeout = '5s'")
            cursor.execute("SELECT count(*) FROM spotify_auth_spotifytoken")
            cursor.execute("RESET statement_timeout")

        assert not migration.done()  # it has stepped aside, and comes back
    migration.result()
    assert token_of(user).account_id is None


def test_a_session_that_is_being_stored_holds_up_neither_users_nor_the_migration(
    elsewhere: Elsewhere,
) -> None:
    migrate("accounts", "0005")
    with locked_elsewhere("LOCK TABLE django_session IN ROW EXCLUSIVE MODE"):
        migration = elsewhere(migrate, "accounts")
        wait_for(waiting_for_a_lock, what="the migration to wait for the table of sessions")

        with database.cursor() as cursor:
            cursor.execute("SET lock_timeout = '500ms'")
            cursor.execute("SELECT count(*) FROM accounts_user")  # as each claim and page does
            cursor.execute("RESET lock_timeout")
        time.sleep(1.5)  # longer than the first turn

        assert not migration.done()  # it has stepped aside, and comes back
    migration.result()


def test_the_groups_are_made_once_and_former_powers_are_kept() -> None:
    former = User.objects.create(username="former")
    former.user_permissions.add(Permission.objects.get(codename="change_spotifytoken"))
    team = Group.objects.create(name="Team")
    team.permissions.add(Permission.objects.get(codename="change_spotifytoken"))
    migrate("accounts", "0004")

    for _ in range(2):
        migrate("accounts")
        Group.objects.get(name="Refresh tokens").permissions.clear()  # as an operator may
        migrate("accounts", "0004")
    migrate("accounts")

    kept = {"change_spotifytoken", "refresh_spotifytoken", "revoke_spotifytoken"}
    for powers in (former.user_permissions, team.permissions):
        assert set(powers.values_list("codename", flat=True)) == kept
    assert not Group.objects.get(name="Refresh tokens").permissions.exists()
    revoke = set(
        Group.objects.get(name="Revoke tokens").permissions.values_list("codename", flat=True)
    )
    assert revoke == {"view_spotifytoken", "view_tokenevent", "revoke_spotifytoken"}
    assert Group.objects.count() == 8
    # Each permission is there once, with the name that Django would give it.
    call_command("migrate", verbosity=0)
    names = dict(Permission.objects.values_list("codename", "name"))
    assert names["view_tokenevent"] == "Can view token event"
    assert names["refresh_spotifytoken"] == "Can have a token refreshed"
    assert len(names) == Permission.objects.count()


def test_the_tables_of_operators_can_be_taken_back_and_made_again(connect: Connect) -> None:
    user = connect("user-1")
    before = indexes_of_tokens()

    migrate("spotify_auth", "0015")

    assert indexes_of_tokens() - before == {"token_failing"}  # what the previous version has
    migrate("spotify_auth")
    assert indexes_of_tokens() == before
    assert token_of(user).generation == 1


def indexes_of_tokens() -> set[str]:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = %s", [SpotifyToken._meta.db_table]
        )
        return {name for (name,) in cursor.fetchall()}
