"""BEGIN and COMMIT that travel with the claim and the write."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import (
    DataError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    transaction,
)
from django.db import connection as database
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from spotify_auth.models import Outcome
from spotify_auth.refresh import transaction as transaction_module
from spotify_auth.refresh.transaction import ClaimTransaction
from tests.support.database_faults import cut_the_connection, end_session, own_session
from tests.support.lanes import refresh_next
from tests.support.tokens import Connect, Elsewhere, make_due

LOCK = "SELECT display_name FROM accounts_user WHERE id = %(id)s FOR UPDATE SKIP LOCKED"
RENAME = "UPDATE accounts_user SET display_name = %(name)s WHERE id = %(id)s"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create(username="somebody", display_name="before")


def name_of(user: User) -> str | None:
    return User.objects.get(pk=user.pk).display_name


def is_free(user: User) -> bool:
    """Whether another connection can take the row's lock."""
    with transaction.atomic():
        return User.objects.select_for_update(skip_locked=True).filter(pk=user.pk).exists()


def test_a_refresh_is_two_messages_to_postgresql(
    connect: Connect,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_module, "BELIEVED_SECONDS", 60.0)
    make_due(connect())
    with django_assert_num_queries(2) as messages:
        assert refresh_next() is Outcome.REFRESHED

    claim, write = (message["sql"] for message in messages.captured_queries)
    assert claim.startswith("BEGIN;")
    assert write.endswith("COMMIT")


def test_a_lane_whose_claim_is_old_asks_for_its_lock(
    connect: Connect,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A suspended host hears nothing of a session that has ended meanwhile."""
    monkeypatch.setattr(transaction_module, "BELIEVED_SECONDS", 0.0)
    make_due(connect())
    with django_assert_num_queries(3) as messages:
        assert refresh_next() is Outcome.REFRESHED

    assert [message["sql"] for message in messages.captured_queries][1] == "SELECT 1"


def test_the_row_is_locked_from_the_first_statement_to_the_last(
    user: User, elsewhere: Elsewhere
) -> None:
    with ClaimTransaction() as claiming:
        assert claiming.claim(LOCK, {"id": user.pk}) == ("before",)
        assert elsewhere(is_free, user).result() is False

        assert claiming.commit(RENAME, {"id": user.pk, "name": "after"}) == 1

        assert elsewhere(is_free, user).result() is True
    assert elsewhere(name_of, user).result() == "after"


def leave(claiming: ClaimTransaction, user: User) -> None:
    pass


def fail(claiming: ClaimTransaction, user: User) -> None:
    raise RuntimeError


def send_nonsense(claiming: ClaimTransaction, user: User) -> None:
    claiming.commit("UPDATE accounts_user SET id = 10 ^ 30 WHERE id = %(id)s", {"id": user.pk})


@pytest.mark.parametrize(
    ("end", "error"), [(leave, None), (fail, RuntimeError), (send_nonsense, DataError)]
)
def test_what_the_last_statement_does_not_commit_is_rolled_back(
    user: User,
    elsewhere: Elsewhere,
    end: Callable[[ClaimTransaction, User], None],
    error: type[Exception] | None,
) -> None:
    def work() -> None:
        with ClaimTransaction() as claiming, database.cursor() as cursor:
            claiming.claim(LOCK, {"id": user.pk})
            cursor.execute(RENAME, {"id": user.pk, "name": "after"})
            end(claiming, user)

    if error:
        with pytest.raises(error):
            work()
    else:
        work()

    assert name_of(user) == "before"
    assert elsewhere(is_free, user).result() is True
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(display_name="later")
    assert elsewhere(name_of, user).result() == "later"


def test_a_transaction_is_begun_once(
    user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # As a probe does, which looks again when nothing was to its taste.
    with django_assert_num_queries(3) as messages, ClaimTransaction() as claiming:
        claiming.claim(LOCK, {"id": 0})
        claiming.claim(LOCK, {"id": user.pk})
        claiming.commit(RENAME, {"id": user.pk, "name": "after"})

    assert ["BEGIN" in message["sql"] for message in messages.captured_queries] == [
        True,
        False,
        False,
    ]


def test_after_a_cut_connection_the_next_transaction_has_a_new_one(user: User) -> None:
    def work() -> None:
        with ClaimTransaction() as claiming:
            claiming.claim(LOCK, {"id": user.pk})
            cut_the_connection()
            claiming.commit(RENAME, {"id": user.pk, "name": "after"})

    with pytest.raises(OperationalError):
        work()

    with ClaimTransaction() as claiming:
        claiming.claim(LOCK, {"id": user.pk})
        claiming.commit(RENAME, {"id": user.pk, "name": "later"})
    assert name_of(user) == "later"


def test_inside_another_transaction_it_is_a_savepoint(user: User, elsewhere: Elsewhere) -> None:
    def work(name: Any) -> None:
        with ClaimTransaction() as claiming:
            claiming.claim(LOCK, {"id": user.pk})
            claiming.commit(RENAME, {"id": user.pk, "name": name})

    with transaction.atomic():
        work("after")
        with pytest.raises(DataError):
            work("x" * 100_000)
        assert name_of(user) == "after"
        assert elsewhere(name_of, user).result() == "before"
    assert elsewhere(name_of, user).result() == "after"


def test_a_write_without_a_claim_commits_by_itself(user: User) -> None:
    with ClaimTransaction() as claiming:
        assert claiming.commit(RENAME, {"id": user.pk, "name": "after"}) == 1

    assert database.connection.info.transaction_status.name == "IDLE"
    assert name_of(user) == "after"


def test_a_lock_that_is_lost_is_noticed(user: User, elsewhere: Elsewhere) -> None:
    def work() -> None:
        with ClaimTransaction() as claiming:
            claiming.claim(LOCK, {"id": user.pk})
            claiming.verify_lock()
            cut_the_connection()
            assert elsewhere(is_free, user).result() is True
            claiming.verify_lock()

    with pytest.raises(OperationalError):
        work()


def test_a_lock_that_is_lost_at_the_beginning_of_a_task_is_noticed(
    user: User, elsewhere: Elsewhere
) -> None:
    """There Django replaces a session that has ended, without a word."""
    session = own_session()

    def work() -> None:
        with ClaimTransaction() as claiming:
            claiming.claim(LOCK, {"id": user.pk})
            end_session(session)
            assert elsewhere(is_free, user).result() is True
            claiming.verify_lock()

    close_old_connections()  # a task begins
    with pytest.raises(OperationalError):
        work()


def test_a_session_that_ended_between_two_tasks_costs_no_claim(user: User) -> None:
    cut_the_connection()
    close_old_connections()  # a task begins

    with ClaimTransaction() as claiming:
        assert claiming.claim(LOCK, {"id": user.pk}) == ("before",)


def test_nothing_is_written_by_another_session_than_the_one_that_claimed(user: User) -> None:
    def work() -> None:
        with ClaimTransaction() as claiming:
            claiming.claim(LOCK, {"id": user.pk})
            database.close()
            claiming.commit(RENAME, {"id": user.pk, "name": "after"})

    with pytest.raises(OperationalError):
        work()

    assert name_of(user) == "before"


def test_a_claim_that_fails_leaves_no_transaction_open(user: User) -> None:
    """BEGIN came through with it: the thread would hold the failed transaction for ever."""
    with pytest.raises(DataError), ClaimTransaction() as claiming:
        claiming.claim("SELECT 1 / %(zero)s", {"zero": 0})

    with ClaimTransaction() as claiming:
        claiming.claim(LOCK, {"id": user.pk})
        claiming.commit(RENAME, {"id": user.pk, "name": "after"})
    assert name_of(user) == "after"


@pytest.mark.parametrize(
    "value",
    ["it's", "a\\b", "50 %", "%(id)s", "", "ü", -5, 1.5, True, None, b"\x00'\\", UUID(int=7)],
)
def test_a_value_arrives_as_it_is(user: User, value: object) -> None:
    with ClaimTransaction() as claiming:
        assert claiming.claim("SELECT %(value)s", {"value": value}) == (value,)


@pytest.mark.parametrize("value", ["\x00", object()], ids=["NUL", "no type of PostgreSQL's"])
def test_a_value_that_postgresql_cannot_have_is_an_error(user: User, value: object) -> None:
    with pytest.raises((DataError, ProgrammingError)), ClaimTransaction() as claiming:
        claiming.claim("SELECT %(value)s", {"value": value})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_claim_that_is_interrupted_holds_no_lock(
    user: User, elsewhere: Elsewhere, error: type[BaseException]
) -> None:
    def interrupt(execute: Callable[..., Any], sql: str, *how: Any) -> Any:
        execute(sql, *how)
        if "FOR UPDATE" in sql:
            raise error  # PostgreSQL has begun, and locked, and the answer is lost
        return None

    with (
        pytest.raises(error),
        database.execute_wrapper(interrupt),
        ClaimTransaction() as claiming,
    ):
        claiming.claim(LOCK, {"id": user.pk})

    assert elsewhere(is_free, user).result() is True
    assert database.connection.info.transaction_status.name == "IDLE"
