"""When users were last seen: noted once a day, and no page costs more or fails for it."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection as database
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from spotify_auth import middleware
from spotify_auth.middleware import LastSeenMiddleware
from spotify_auth.models import LastSeen
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return User.objects.create(username="ada")


@pytest.fixture
def visit() -> Callable[[object], HttpResponse]:
    """A request to one process, whose view looks at its user."""

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.user.pk}")

    pages = LastSeenMiddleware(view)

    def ask(user: object) -> HttpResponse:
        request = RequestFactory().get("/")
        request.user = user  # type: ignore[assignment]
        answer: HttpResponse = pages(request)
        return answer

    return ask


def seen(user: User, *, ago: timedelta) -> None:
    LastSeen.objects.update_or_create(user=user, defaults={"seen_at": Now() - ago})


def seen_lately(user: User) -> bool:
    return LastSeen.objects.filter(pk=user.pk, seen_at__gt=Now() - timedelta(minutes=1)).exists()


def test_a_first_visit_is_noted(user: User, visit: Callable[[object], HttpResponse]) -> None:
    visit(user)

    assert seen_lately(user)


@pytest.mark.parametrize(
    ("ago", "noted"), [(timedelta(hours=23), False), (timedelta(hours=25), True)]
)
def test_a_visit_is_noted_once_a_day(
    user: User, visit: Callable[[object], HttpResponse], ago: timedelta, noted: bool
) -> None:
    seen(user, ago=ago)

    visit(user)

    assert seen_lately(user) is noted


def test_further_visits_cost_no_query(user: User, visit: Callable[[object], HttpResponse]) -> None:
    visit(user)

    with CaptureQueriesContext(database) as queries:
        for _ in range(3):
            visit(user)

    assert queries.captured_queries == []


def test_a_process_asks_again_when_the_next_note_is_due(user: User) -> None:
    # Noted by another process 23 hours ago: this one may not be silent for a whole day.
    seen(user, ago=timedelta(hours=23))
    process = LastSeenMiddleware(lambda request: HttpResponse())

    assert process.note(user.pk) == pytest.approx(3600, abs=60)
    seen(user, ago=timedelta(hours=25))
    assert process.note(user.pk) == 24 * 3600


def test_visitors_who_are_not_logged_in_cost_nothing(
    visit: Callable[[object], HttpResponse],
) -> None:
    with CaptureQueriesContext(database) as queries:
        visit(AnonymousUser())

    assert queries.captured_queries == []


def test_a_page_that_does_not_ask_for_its_user_is_left_alone() -> None:
    def load() -> User:
        raise AssertionError("the user was loaded")

    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(load)  # type: ignore[assignment]

    assert LastSeenMiddleware(lambda request: HttpResponse("public"))(request).content == b"public"


def test_a_process_forgets_before_it_remembers_too_many(
    user: User, visit: Callable[[object], HttpResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "REMEMBERED", 1)
    visit(user)
    visit(User.objects.create(username="bob"))
    seen(user, ago=timedelta(days=2))

    visit(user)

    assert seen_lately(user)


@pytest.fixture
def read_only() -> Iterator[Callable[[], None]]:
    """Let PostgreSQL refuse to write, as a standby does."""

    def begin() -> None:
        with database.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")

    yield begin
    with database.cursor() as cursor:
        cursor.execute("RESET default_transaction_read_only")


@pytest.mark.django_db(transaction=True)
def test_a_database_that_takes_no_note_fails_no_page(
    connect: Connect,
    client: Client,
    read_only: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.force_login(connect(due=False))
    read_only()

    answers = [client.get("/connection/").status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    # One line, and one attempt: the process waits before it tries again.
    assert caplog.text.count("last_seen_not_noted reason=InternalError") == 1
    assert not LastSeen.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_note_goes_with_its_user_whoever_deletes_it(user: User) -> None:
    # The previous version, for example, which knows nothing of the table.
    seen(user, ago=timedelta())

    with database.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_user WHERE id = %s", [user.pk])

    assert not LastSeen.objects.exists()
