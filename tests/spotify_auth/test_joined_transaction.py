"""BEGIN and COMMIT that travel with the first and the last statement."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, OperationalError, transaction
from django.db import connection as database
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from spotify_auth.joined_transaction import execute_first, execute_last, joined_transaction
from spotify_auth.models import Outcome
from spotify_auth.refresher import refresh_next
from tests.conftest import Connect, Elsewhere, make_due
from tests.database_faults import cut_the_connection

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
    connect: Connect, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_due(connect())
    with django_assert_num_queries(2) as messages:
        assert refresh_next() is Outcome.REFRESHED

    claim, write = (message["sql"] for message in messages.captured_queries)
    assert claim.startswith("BEGIN;")
    assert write.endswith("COMMIT")


def test_the_row_is_locked_from_the_first_statement_to_the_last(
    user: User, elsewhere: Elsewhere
) -> None:
    with joined_transaction(), database.cursor() as cursor:
        execute_first(cursor, LOCK, {"id": user.pk})
        assert cursor.fetchone() == ("before",)
        assert elsewhere(is_free, user).result() is False

        execute_last(cursor, RENAME, {"id": user.pk, "name": "after"})

        assert cursor.rowcount == 1
        assert elsewhere(is_free, user).result() is True
    assert elsewhere(name_of, user).result() == "after"


def leave(user: User) -> None:
    pass


def fail(user: User) -> None:
    raise RuntimeError


def send_nonsense(user: User) -> None:
    with database.cursor() as cursor:
        execute_last(
            cursor, "UPDATE accounts_user SET id = 10 ^ 30 WHERE id = %(id)s", {"id": user.pk}
        )


@pytest.mark.parametrize(
    ("end", "error"), [(leave, None), (fail, RuntimeError), (send_nonsense, DataError)]
)
def test_what_the_last_statement_does_not_commit_is_rolled_back(
    user: User,
    elsewhere: Elsewhere,
    end: Callable[[User], None],
    error: type[Exception] | None,
) -> None:
    def work() -> None:
        with joined_transaction(), database.cursor() as cursor:
            execute_first(cursor, LOCK, {"id": user.pk})
            cursor.execute(RENAME, {"id": user.pk, "name": "after"})
            end(user)

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
    with (
        django_assert_num_queries(3) as messages,
        joined_transaction(),
        database.cursor() as cursor,
    ):
        execute_first(cursor, LOCK, {"id": 0})
        execute_first(cursor, LOCK, {"id": user.pk})
        execute_last(cursor, RENAME, {"id": user.pk, "name": "after"})

    assert ["BEGIN" in message["sql"] for message in messages.captured_queries] == [
        True,
        False,
        False,
    ]


def test_after_a_cut_connection_the_next_transaction_has_a_new_one(user: User) -> None:
    def work() -> None:
        with joined_transaction(), database.cursor() as cursor:
            execute_first(cursor, LOCK, {"id": user.pk})
            cut_the_connection()
            execute_last(cursor, RENAME, {"id": user.pk, "name": "after"})

    with pytest.raises(OperationalError):
        work()

    with joined_transaction(), database.cursor() as cursor:
        execute_first(cursor, LOCK, {"id": user.pk})
        execute_last(cursor, RENAME, {"id": user.pk, "name": "later"})
    assert name_of(user) == "later"


def test_inside_another_transaction_it_is_a_savepoint(user: User, elsewhere: Elsewhere) -> None:
    def work(name: Any) -> None:
        with joined_transaction(), database.cursor() as cursor:
            execute_first(cursor, LOCK, {"id": user.pk})
            execute_last(cursor, RENAME, {"id": user.pk, "name": name})

    with transaction.atomic():
        work("after")
        with pytest.raises(DataError):
            work("x" * 100_000)
        assert name_of(user) == "after"
        assert elsewhere(name_of, user).result() == "before"
    assert elsewhere(name_of, user).result() == "after"


def test_outside_of_the_block_nothing_is_added(user: User) -> None:
    with database.cursor() as cursor:
        execute_first(cursor, LOCK, {"id": user.pk})
        assert cursor.fetchone() == ("before",)
        execute_last(cursor, RENAME, {"id": user.pk, "name": "after"})
    assert database.connection.info.transaction_status.name == "IDLE"
    assert name_of(user) == "after"
