"""Plans that PostgreSQL keeps for the read of a token: never in the way of anybody."""

from collections.abc import Iterator

import pytest
from django.db import close_old_connections
from django.db import connection as database

from accounts.models import User
from spotify_auth import tokens
from spotify_auth.prepared_statements import EXECUTIONS
from tests.support.database_faults import cut_the_connection
from tests.support.fault_stack import default_database
from tests.support.pgbouncer import Pgbouncer, running
from tests.support.processes import service_environment
from tests.support.tokens import Connect, Elsewhere

ENOUGH = 2 * EXECUTIONS


@pytest.fixture
def pgbouncer() -> Iterator[Pgbouncer]:
    with running(pool_size=2) as pooler:
        yield pooler


def read_often(user: User) -> None:
    for _ in range(ENOUGH):
        assert tokens.access_token_for(user).generation == 1


def kept() -> int:
    """How many plans this connection's session keeps."""
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        count: int = cursor.fetchone()[0]
    return count


@pytest.mark.django_db
def test_a_read_is_planned_once(connect: Connect) -> None:
    user = connect(due=False)
    before = kept()

    read_often(user)
    read_often(user)

    assert kept() == before + 1


@pytest.mark.django_db(transaction=True)
def test_a_session_that_ended_since_the_last_request_costs_no_read(connect: Connect) -> None:
    user = connect(due=False)
    cut_the_connection()
    close_old_connections()  # a request begins

    assert tokens.access_token_for(user).generation == 1


@pytest.mark.django_db(transaction=True)
def test_behind_a_pooler_no_plan_is_kept(connect: Connect, pgbouncer: Pgbouncer) -> None:
    user = connect(due=False)
    direct = service_environment(spotify_url="", redis_url="")["DATABASE_URL"]

    with default_database(pgbouncer.through(direct)):
        read_often(user)

        assert kept() == 0


@pytest.mark.django_db(transaction=True)
def test_reads_go_on_when_a_migration_changes_the_type_of_a_column(
    connect: Connect, elsewhere: Elsewhere
) -> None:
    user = connect(due=False)
    read_often(user)

    def migrate(length: int) -> None:
        with database.cursor() as cursor:
            for column in ("status", "last_error"):
                cursor.execute(
                    f"ALTER TABLE spotify_auth_spotifytoken ALTER {column} TYPE varchar({length})"
                )

    try:
        elsewhere(migrate, 120).result()
        read_often(user)
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE spotify_auth_spotifytoken ALTER status TYPE varchar(20)")
            cursor.execute(
                "ALTER TABLE spotify_auth_spotifytoken ALTER last_error TYPE varchar(100)"
            )
