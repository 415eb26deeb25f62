"""docs/how-to/make-the-history-append-only.md: its SQL, and the service under a second role."""

import re
import secrets
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import ProgrammingError, connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from accounts.deletion import delete_account
from accounts.models import User
from dev.process import ROOT
from spotify_auth import connections, housekeeping, verbs
from spotify_auth.history import pruning
from spotify_auth.models import HistoryMark, Outcome, TokenEvent
from spotify_auth.verbs import Operator
from tests.support.admin import enter_admin
from tests.support.doctor import diagnose
from tests.support.lanes import refresh_next
from tests.support.login import log_in
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = ROOT / "docs/how-to/make-the-history-append-only.md"


def execute(sql: str) -> int:
    """How many rows a statement changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.rowcount)


def be(user: str, password: str) -> None:
    """Log in to PostgreSQL anew."""
    connection.close()
    connection.settings_dict.update(USER=user, PASSWORD=password)


@pytest.fixture
def second_role(transactional_db: None) -> Iterator[None]:
    """The service logs in to PostgreSQL as the page's second role; the tables are the first's."""
    owner = connection.settings_dict["USER"], connection.settings_dict["PASSWORD"]
    # Roles belong to all databases of a server, and each process of pytest-xdist has one.
    role = f"app_of_{connection.settings_dict['NAME']}"
    password = secrets.token_hex(8)
    (sql,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    execute(sql.replace("keeper_app", role))
    be(role, password)
    try:
        yield
    finally:
        be(*owner)
        execute(f"DROP OWNED BY {role}")  # rights and policies
        for table in ("spotify_auth_tokenevent", "django_admin_log"):
            execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        execute(f"DROP ROLE {role}")


def test_the_write_side_works(second_role: None, connect: Connect, spotify: Sandbox) -> None:
    user, other = connect("user-1"), connect("user-2", due=False)
    root = User.objects.create(username="root", is_staff=True)

    assert refresh_next() is Outcome.REFRESHED
    make_due(user)
    spotify.faults(fault="unavailable", times=1)
    assert refresh_next() is Outcome.RETRY
    assert verbs.refresh(user.pk, operator=Operator.of(root), reason="r").is_done
    assert refresh_next() is Outcome.REFRESHED
    assert verbs.revoke(other.pk, operator=Operator.of(root), reason="r").is_done
    assert connections.disconnect(user_id=user.pk)

    assert diagnose("postgresql", "migrations").bad == []
    assert token_of(user).generation == 3
    assert LogEntry.objects.count() == 2
    outcomes = set(TokenEvent.objects.values_list("outcome", flat=True))
    assert outcomes == {
        "connected",
        "refreshed",
        "retry",
        "refresh_requested",
        "revoked",
        "disconnected",
    }


def test_the_pages_and_the_admin_work(
    second_role: None, client: Client, spotify: Sandbox, connect: Connect
) -> None:
    user = connect("user-2")
    log_in(client, spotify)
    assert client.get("/connection/").status_code == 200
    assert client.post("/account/delete/").status_code == 302
    assert not TokenEvent.objects.exclude(user=user).exists()

    enter_admin(client, User.objects.create_superuser("root"))
    client.post(f"/admin/accounts/user/{user.pk}/delete/", {"post": "yes"})

    assert not TokenEvent.objects.exists()
    assert not User.objects.filter(pk=user.pk).exists()


def test_a_user_is_deleted_with_everything(second_role: None, connect: Connect) -> None:
    gone, stays = connect("user-1"), connect("user-2")

    delete_account(gone)

    assert set(TokenEvent.objects.values_list("user_id", flat=True)) == {stays.pk}


def test_house_keeping_prunes_what_is_too_old_and_ends(
    second_role: None, connect: Connect, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connect()
    # Ids rise with time: the one of the login is the newest, and was looked at.
    HistoryMark.objects.update_or_create(defaults={"all_to": TokenEvent.objects.get().pk})
    for days in (401, 401, 50, 50):
        TokenEvent.objects.create(
            user=user, at=Now() - timedelta(days=days), cause="login", outcome="connected"
        )
    monkeypatch.setattr(pruning, "STEP", 2)
    settings.TOKEN_EVENT_RETENTION_DAYS = 40  # fewer than the policy says

    assert housekeeping.delete_expired()

    assert TokenEvent.objects.count() == 3
    # For a later hour: what PostgreSQL kept is not passed over.
    assert TokenEvent.objects.filter(pk__gt=HistoryMark.objects.get().all_to).count() == 2


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE spotify_auth_tokenevent SET asked_by = 'somebody else'",
        "INSERT INTO spotify_auth_tokenevent (id, user_id, cause, outcome, rotated, worker, error) "
        "SELECT id, user_id, cause, outcome, rotated, worker, error FROM spotify_auth_tokenevent "
        "ON CONFLICT (id) DO UPDATE SET reason = 'another'",
        "TRUNCATE spotify_auth_tokenevent",
        "ALTER TABLE spotify_auth_tokenevent DISABLE ROW LEVEL SECURITY",
        "DROP POLICY app_forgets ON spotify_auth_tokenevent",
        "ALTER TABLE spotify_auth_tokenevent DISABLE TRIGGER ALL",
        "UPDATE django_admin_log SET change_message = 'nothing'",
        "TRUNCATE django_admin_log",
        "DELETE FROM django_migrations",
        "SET session_replication_role = replica",
    ],
)
def test_nothing_that_happened_can_be_changed(
    second_role: None, connect: Connect, sql: str
) -> None:
    connect()
    before = list(TokenEvent.objects.values())

    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        execute(sql)

    assert list(TokenEvent.objects.values()) == before


def test_the_service_cannot_give_itself_rights(second_role: None, connect: Connect) -> None:
    connect()
    execute("GRANT UPDATE ON spotify_auth_tokenevent TO CURRENT_USER")  # PostgreSQL only warns

    with pytest.raises(ProgrammingError, match="permission denied"):
        execute("UPDATE spotify_auth_tokenevent SET asked_by = 'somebody else'")


def test_nothing_of_somebody_who_stays_can_be_deleted(second_role: None, connect: Connect) -> None:
    root = User.objects.create(username="root")
    assert verbs.revoke(connect().pk, operator=Operator.of(root), reason="r").is_done

    assert execute("DELETE FROM spotify_auth_tokenevent") == 0
    assert execute("DELETE FROM django_admin_log") == 0

    assert TokenEvent.objects.count() == 2
    assert LogEntry.objects.count() == 1
