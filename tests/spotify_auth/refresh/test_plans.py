"""The statements of a routine refresh as functions of PostgreSQL, and the text without them."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection as database
from django.db import transaction
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from spotify_auth.maintenance import functions
from spotify_auth.models import Outcome
from spotify_auth.refresh import process as process_module
from spotify_auth.refresh import store
from spotify_auth.refresh import transaction as transaction_module
from spotify_auth.refresh.plans import KEY, PREFIX, TYPES, KeptStatement
from spotify_auth.refresh.process import process
from tests.support.lanes import refresh_next
from tests.support.processes import wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)


def execute(sql: str, *parameters: str) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def ours() -> set[str]:
    """Our functions in the database, with the types of their parameters."""
    found = execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE starts_with(proname, %s)", PREFIX
    )
    return {name for (name,) in found}


def drop_functions() -> None:
    for name in ours():
        execute(f"DROP FUNCTION {name}")


@pytest.fixture
def _without_functions(transactional_db: None) -> Iterator[None]:
    drop_functions()
    yield
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each claim but the first begins where the last one did, and so calls its function.

    And is believed, however slow this machine is.
    """
    monkeypatch.setattr(process_module, "FULL_SCAN_SECONDS", 3600)
    monkeypatch.setattr(transaction_module, "BELIEVED_SECONDS", 3600)


def refresh_each(*users: User) -> None:
    for user in users:
        make_due(user)
    for _ in users:
        assert refresh_next() is Outcome.REFRESHED


@pytest.mark.parametrize("dormant_after", [0, 30])
def test_a_claim_in_a_row_and_a_routine_write_are_calls(
    connect: Connect,
    long_memory: None,
    settings: Settings,
    django_assert_num_queries: DjangoAssertNumQueries,
    dormant_after: int,
) -> None:
    settings.REFRESH_DORMANT_AFTER = dormant_after
    users = [connect(f"user-{n}") for n in range(2)]
    for user in users:
        make_due(user)
    assert refresh_next() is Outcome.REFRESHED

    with django_assert_num_queries(2) as messages:
        assert refresh_next() is Outcome.REFRESHED

    claim, write = (message["sql"] for message in messages.captured_queries)
    assert f"FROM {PREFIX}claim_" in claim
    assert f"FROM {PREFIX}{'store_unless_dormant' if dormant_after else 'store'}_" in write
    assert "UPDATE" not in write
    assert {token_of(user).generation for user in users} == {2}


@pytest.mark.parametrize("statement", functions.wanted(), ids=lambda statement: statement.purpose)
def test_a_plan_that_is_kept_from_an_empty_table_reads_no_table_to_its_end(
    statement: KeptStatement,
) -> None:
    """As a new installation's first sessions make it, and keep it while the table grows."""
    plan = plan_of(statement)

    if statement.purpose == "claim":
        assert "Index Scan using token_due on spotify_auth_spotifytoken" in plan
        assert plan.count("LockRows") == 1
    else:
        assert "spotify_auth_spotifytoken_pkey" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


def plan_of(statement: KeptStatement) -> str:
    """The plan for any value of the parameters, under the settings of the function itself."""
    parameters = dict.fromkeys(statement.parameters)
    text = statement.text
    for number, name in enumerate(parameters, start=1):
        text = text.replace(f"%({name})s", f"${number}")
    with transaction.atomic():
        (settings_,) = execute("SELECT proconfig FROM pg_proc WHERE proname = %s", statement.name)
        for setting in [*settings_[0], "plan_cache_mode=force_generic_plan"]:
            execute("SELECT set_config(%s, %s, true)", *setting.split("="))
        types = ", ".join(TYPES[name].replace(KEY, "bigint") for name in parameters)
        execute(f"PREPARE kept({types}) AS {text}")
        try:
            plan = execute(f"EXPLAIN EXECUTE kept({', '.join(['NULL'] * len(parameters))})")
        finally:
            execute("DEALLOCATE kept")
    return "\n".join(line for (line,) in plan)


def test_a_migration_beside_running_lanes_invalidates_the_plans_only(
    connect: Connect, elsewhere: Elsewhere, long_memory: None
) -> None:
    users = [connect(f"user-{n}") for n in range(3)]
    for _ in range(3):  # so that each statement has been planned for good
        refresh_each(*users)

    one_more = "ADD COLUMN one_more text DEFAULT 'x'"
    elsewhere(execute, f"ALTER TABLE spotify_auth_spotifytoken {one_more}").result()
    elsewhere(execute, "ALTER TABLE spotify_auth_tokenevent ADD COLUMN one_more text").result()
    try:
        refresh_each(*users)
    finally:
        execute("ALTER TABLE spotify_auth_spotifytoken DROP COLUMN one_more")
        execute("ALTER TABLE spotify_auth_tokenevent DROP COLUMN one_more")
    refresh_each(*users)

    assert {token_of(user).generation for user in users} == {1 + 3 + 2}
    assert process.functions.usable()


@pytest.mark.usefixtures("_without_functions", "long_memory")
def test_without_functions_the_text_is_sent(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    users = [connect(f"user-{n}") for n in range(3)]

    with caplog.at_level(logging.WARNING):
        refresh_each(*users)

    assert {token_of(user).generation for user in users} == {2}
    # Said once, and not missed again at each refresh.
    assert caplog.messages.count("functions_missing sqlstate=42883") == 1


@pytest.mark.usefixtures("long_memory")
def test_functions_that_are_made_later_are_found(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    users = [connect(f"user-{n}") for n in range(2)]
    drop_functions()
    refresh_each(*users)
    assert not process.functions.usable()

    call_command("migrate", verbosity=0)
    monkeypatch.setattr(process.functions, "_asked_again", 0.0)  # a minute later

    with django_assert_num_queries(2 * len(users) + len(users)):  # make_due is one for each
        refresh_each(*users)
    assert process.functions.usable()


@pytest.mark.usefixtures("_without_functions")
def test_a_function_that_is_missed_with_a_grant_in_hand_costs_no_grant(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    user = connect()
    spotify.faults("hold", times=1)
    running = elsewhere(refresh_next)
    wait_for(lambda: spotify.stats()["held"] == 1, what="the exchange to be in flight")

    drop_functions()
    spotify.release()

    assert running.result() is Outcome.REFRESHED
    token = token_of(user)
    assert (token.generation, token.failures, token.last_error) == (2, 0, "")
    assert spotify.stats()["totals"]["refreshes_attempted"] == 1
    assert spotify.stats()["totals"]["reuses_of_dead_token"] == 0


def test_a_write_that_comes_too_late_is_still_fenced(
    connect: Connect, spotify: Sandbox, elsewhere: Elsewhere
) -> None:
    """The function says so by returning no row."""
    user = connect()
    change = store._STORE_GRANT_OF_ANYBODY
    values: dict[str, Any] = dict.fromkeys(store.KEPT[change].parameters)
    values |= {"user_id": user.pk, "generation": 7, "claimed_status": "active", "scope": ""}
    with database.cursor() as cursor:
        cursor.execute(store.KEPT[change].call, values)
        assert cursor.fetchall() == []
    assert token_of(user).generation == 1


def test_migrate_keeps_the_functions_of_this_version_and_of_two_before_it() -> None:
    present = ours()
    older = [f"{PREFIX}claim_{number:012x}" for number in range(4)]
    with transaction.atomic():
        drop_functions()
        for name in older:
            execute(f"CREATE FUNCTION {name}(bigint) RETURNS bigint LANGUAGE sql RETURN $1")
        emit_post_migrate_signal(verbosity=0, interactive=False, db="default")

        assert ours() == present | {f"{name}(bigint)" for name in older[2:]}
        transaction.set_rollback(True)


def test_functions_go_with_the_tables() -> None:
    with transaction.atomic():
        assert ours()
        execute("ALTER TABLE spotify_auth_spotifytoken RENAME TO gone")

        functions.make_after_migrations(using="default")

        assert ours() == set()
        transaction.set_rollback(True)


def schemas() -> set[str]:
    """Where our functions are."""
    found = execute(
        "SELECT pronamespace::regnamespace::text FROM pg_proc WHERE starts_with(proname, %s)",
        PREFIX,
    )
    return {name for (name,) in found}


def test_they_are_made_in_the_schema_of_the_tables_and_go_with_those_alone() -> None:
    with transaction.atomic():
        execute("CREATE SCHEMA theirs")
        execute("CREATE TABLE theirs.spotify_auth_spotifytoken ()")
        execute("SET LOCAL search_path = theirs")

        functions.make_after_migrations(using="default")
        assert schemas() == {"public", "theirs"}

        execute("DROP TABLE theirs.spotify_auth_spotifytoken")
        functions.make_after_migrations(using="default")
        assert schemas() == {"public"}
        transaction.set_rollback(True)


@pytest.mark.usefixtures("_without_functions")
def test_a_role_that_may_make_none_can_migrate(caplog: pytest.LogCaptureFixture) -> None:
    role = f"may_nothing_in_{database.settings_dict['NAME']}"
    execute(f"CREATE ROLE {role}")
    execute(f"SET ROLE {role}")
    try:
        functions.make_after_migrations(using="default")
    finally:
        execute("RESET ROLE")
        execute(f"DROP ROLE {role}")

    assert "functions_not_made reason=InsufficientPrivilege" in caplog.messages
    assert ours() == set()
