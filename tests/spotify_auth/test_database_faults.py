"""Faults of the database: each real error of PostgreSQL has its kind."""

import psycopg
import pytest
from django.db import Error, InterfaceError, OperationalError, close_old_connections, transaction
from django.db import connection as database

from accounts.models import User
from dev.process import free_port
from spotify_auth import tokens
from spotify_auth.database_faults import Fault, fault_of, leave_standby
from spotify_auth.models import Cause
from tests.support.database_faults import cut_the_connection, locked_elsewhere
from tests.support.tokens import Connect, make_due

pytestmark = pytest.mark.django_db(transaction=True)


def error_of(*statements: str) -> Error:
    """What the last of these statements raises."""
    with pytest.raises(Error) as caught, transaction.atomic(), database.cursor() as cursor:
        cursor.execute("; ".join(statements))
    return caught.value


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (["SET TRANSACTION READ ONLY", "DELETE FROM django_session"], Fault.READ_ONLY),
        (["SET LOCAL statement_timeout = 20", "SELECT pg_sleep(9)"], Fault.BUSY),
        (["DO $$ BEGIN RAISE deadlock_detected; END $$"], Fault.BUSY),
        (["DO $$ BEGIN RAISE disk_full; END $$"], Fault.READ_ONLY),
        (["DO $$ BEGIN RAISE too_many_connections; END $$"], Fault.AWAY),
        (["SELECT nonsense"], None),  # a mistake of ours
        (["SELECT 1 / 0"], None),
    ],
)
def test_each_error_has_its_kind(statements: list[str], fault: Fault | None) -> None:
    assert fault_of(error_of(*statements)) is fault


def test_a_lock_that_does_not_come_free_is_a_busy_database() -> None:
    User.objects.create(username="ada")

    with locked_elsewhere("SELECT FROM accounts_user FOR UPDATE"):
        error = error_of("SET LOCAL lock_timeout = 20", "SELECT FROM accounts_user FOR UPDATE")

    assert fault_of(error) is Fault.BUSY


def test_a_session_that_was_cut_is_a_database_that_is_away() -> None:
    with transaction.atomic():
        cut_the_connection()
        with pytest.raises(OperationalError) as caught, database.cursor() as cursor:
            cursor.execute("SELECT 1")
        database.close()

    assert fault_of(caught.value) is Fault.AWAY


def test_a_server_that_is_not_there_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    database.close()
    with monkeypatch.context() as patch:
        patch.setitem(database.settings_dict, "PORT", str(free_port()))
        with pytest.raises(OperationalError) as caught:
            database.ensure_connection()

    assert fault_of(caught.value) is Fault.AWAY


def test_errors_of_others_have_no_kind() -> None:
    assert fault_of(InterfaceError("the connection is closed")) is Fault.AWAY
    assert fault_of(psycopg.OperationalError("not Django's")) is None
    assert fault_of(ValueError()) is None
    assert fault_of(None) is None


def test_a_thread_leaves_a_server_that_takes_no_changes_when_its_request_ends(
    connect: Connect,
) -> None:
    user = connect()
    make_due(user, expired=True)
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")  # a primary that was demoted

    refused = tokens.nudge(user.pk, generation=1, cause=Cause.STALE_READ)
    close_old_connections()  # the request ends

    assert not refused
    assert tokens.nudge(user.pk, generation=1, cause=Cause.STALE_READ)


def test_other_errors_keep_the_connection() -> None:
    error = error_of("SET LOCAL statement_timeout = 20", "SELECT pg_sleep(9)")

    leave_standby(error)

    assert database.close_at is None
