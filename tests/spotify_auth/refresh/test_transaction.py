"""BEGIN and COMMIT that travel with the first and the last statement."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import pytest
from django.db import DataError, OperationalError, transaction
from django.db import connection as database
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from spotify_auth.models import Outcome
from spotify_auth.refresh import claims, lanes
from spotify_auth.refresh import transaction as joined
from spotify_auth.refresh.refresher import refresh_next
from spotify_auth.refresh.transaction import (
    execute_first,
    execute_last,
    joined_transaction,
    sent_ahead,
)
from tests.support.database_faults import cut_the_connection
from tests.support.tokens import Connect, Elsewhere, make_due

LOCK = "SELECT display_name FROM accounts_user WHERE id = %(id)s FOR UPDATE SKIP LOCKED"
LOCK_NEXT = LOCK.replace("%(id)s", "%(next)s")
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


def test_a_lane_is_one_message_for_each_refresh(
    connect: Connect,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "ANEW_SECONDS", 3600)
    for n in range(3):
        connect(f"user-{n}")
    # The first claim; then one for each; in the end one from the very left, and ROLLBACK.
    with django_assert_num_queries(1 + 3 + 1 + 1) as messages:
        assert lanes.run_lane() == 3

    joined = ["; COMMIT; BEGIN; " in message["sql"] for message in messages.captured_queries]
    assert joined == [False, True, True, True, False, False]


def test_the_row_is_locked_from_the_first_statement_to_the_last(
    user: User, elsewhere: Elsewhere
) -> None:
    with joined_transaction():
        assert execute_first(LOCK, {"id": user.pk}) == ("before",)
        assert elsewhere(is_free, user).result() is False

        assert execute_last(RENAME, {"id": user.pk, "name": "after"}) == 1

        assert elsewhere(is_free, user).result() is True
    assert elsewhere(name_of, user).result() == "after"


def leave(user: User) -> None:
    pass


def fail(user: User) -> None:
    raise RuntimeError


def send_nonsense(user: User) -> None:
    execute_last("UPDATE accounts_user SET id = 10 ^ 30 WHERE id = %(id)s", {"id": user.pk})


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
            execute_first(LOCK, {"id": user.pk})
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
    with django_assert_num_queries(3) as messages, joined_transaction():
        execute_first(LOCK, {"id": 0})
        execute_first(LOCK, {"id": user.pk})
        execute_last(RENAME, {"id": user.pk, "name": "after"})

    assert ["BEGIN" in message["sql"] for message in messages.captured_queries] == [
        True,
        False,
        False,
    ]


def test_after_a_cut_connection_the_next_transaction_has_a_new_one(user: User) -> None:
    def work() -> None:
        with joined_transaction():
            execute_first(LOCK, {"id": user.pk})
            cut_the_connection()
            execute_last(RENAME, {"id": user.pk, "name": "after"})

    with pytest.raises(OperationalError):
        work()

    with joined_transaction():
        execute_first(LOCK, {"id": user.pk})
        execute_last(RENAME, {"id": user.pk, "name": "later"})
    assert name_of(user) == "later"


def test_inside_another_transaction_it_is_a_savepoint(user: User, elsewhere: Elsewhere) -> None:
    def work(name: Any) -> None:
        with joined_transaction():
            execute_first(LOCK, {"id": user.pk})
            execute_last(RENAME, {"id": user.pk, "name": name})

    with transaction.atomic():
        work("after")
        with pytest.raises(DataError):
            work("x" * 100_000)
        assert name_of(user) == "after"
        assert elsewhere(name_of, user).result() == "before"
    assert elsewhere(name_of, user).result() == "after"


def test_outside_of_the_block_nothing_is_added(user: User) -> None:
    assert execute_first(LOCK, {"id": user.pk}) == ("before",)
    execute_last(RENAME, {"id": user.pk, "name": "after"})
    assert database.connection.info.transaction_status.name == "IDLE"
    assert name_of(user) == "after"


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create(username="other", display_name="other")


def ahead(user: User) -> AbstractContextManager[None]:
    """Send the lock of this user's row ahead."""
    return sent_ahead(lambda: (LOCK_NEXT, {"next": user.pk}))


def rename(user: User) -> None:
    """One block, whose last statement sends the lock of another row ahead."""
    with joined_transaction():
        execute_first(LOCK, {"id": user.pk})
        execute_last(RENAME, {"id": user.pk, "name": "after"})


def test_what_is_sent_ahead_is_locked_until_its_own_block_ends(
    user: User, other: User, elsewhere: Elsewhere
) -> None:
    with ahead(other):
        rename(user)
        assert elsewhere(name_of, user).result() == "after"  # committed already
        assert elsewhere(is_free, other).result() is False

        with joined_transaction():
            assert execute_first(LOCK_NEXT, {"next": other.pk}) == ("other",)
            assert elsewhere(is_free, other).result() is False
            assert execute_last(RENAME, {"id": other.pk, "name": "renamed"}) == 1
        assert elsewhere(name_of, other).result() == "renamed"


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_what_is_sent_ahead_in_vain_is_given_back(
    user: User, other: User, elsewhere: Elsewhere, error: type[Exception] | None
) -> None:
    with suppress(RuntimeError), ahead(other):
        rename(user)
        if error:
            raise error

    assert elsewhere(is_free, other).result() is True
    rename(user)  # sends nothing ahead
    assert database.connection.info.transaction_status.name == "IDLE"


def test_what_is_sent_ahead_is_given_back_for_another_statement(
    user: User, other: User, elsewhere: Elsewhere
) -> None:
    with ahead(other):
        rename(user)
        with joined_transaction():
            assert execute_first(LOCK, {"id": user.pk}) == ("after",)
            assert elsewhere(is_free, other).result() is True
            assert elsewhere(is_free, user).result() is False
            execute_last(RENAME, {"id": user.pk, "name": "later"})
    assert elsewhere(name_of, user).result() == "later"


def test_what_was_sent_too_long_ago_is_asked_for_again(
    user: User, other: User, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "AHEAD_SECONDS", 0.0)
    with ahead(other):
        rename(user)
        cut_the_connection()
        elsewhere(rename, other).result()  # could not, if the row were still locked

        with joined_transaction():
            assert execute_first(LOCK_NEXT, {"next": other.pk}) == ("after",)
            assert elsewhere(is_free, other).result() is False


def test_a_block_that_was_begun_ahead_is_rolled_back_like_any_other(
    user: User, other: User, elsewhere: Elsewhere
) -> None:
    with ahead(other):
        rename(user)
        with joined_transaction():
            execute_first(LOCK_NEXT, {"next": other.pk})
            with database.cursor() as cursor:
                cursor.execute(RENAME, {"id": other.pk, "name": "after"})

        assert elsewhere(is_free, other).result() is True
    assert name_of(other) == "other"


def test_what_fails_ahead_undoes_nothing(user: User) -> None:
    with pytest.raises(DataError), sent_ahead(lambda: ("SELECT 1 / 0", {})):
        rename(user)

    assert name_of(user) == "after"
    rename(user)


def test_what_fails_first_sends_nothing_ahead(
    user: User, other: User, elsewhere: Elsewhere
) -> None:
    def work() -> None:
        with joined_transaction():
            execute_first(LOCK, {"id": user.pk})
            send_nonsense(user)

    with ahead(other):
        with pytest.raises(DataError):
            work()

        assert elsewhere(is_free, other).result() is True
        assert elsewhere(is_free, user).result() is True


def test_a_lock_that_was_lost_since_it_was_sent_ahead_is_noticed(user: User, other: User) -> None:
    def work() -> None:
        with joined_transaction():
            execute_first(LOCK_NEXT, {"next": other.pk})
            execute_last(RENAME, {"id": other.pk, "name": "after"})

    with ahead(other):
        rename(user)
        cut_the_connection()
        with pytest.raises(OperationalError):
            work()

        rename(user)  # over a new connection
    assert name_of(other) == "other"


def test_parameters_of_the_same_name_are_refused(user: User, other: User) -> None:
    with (
        pytest.raises(ValueError, match="same name"),
        sent_ahead(lambda: (LOCK, {"id": other.pk})),
    ):
        rename(user)

    assert name_of(user) == "before"
