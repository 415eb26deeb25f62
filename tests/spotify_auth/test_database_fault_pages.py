"""PostgreSQL read-only, locked or away: what each address answers."""

from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import ProgrammingError, close_old_connections
from django.db import connection as database
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from spotify_auth import schedule, web_api
from spotify_auth.database_fault_pages import DatabaseFaultMiddleware, server_error
from spotify_auth.decorators import spotify_required
from spotify_auth.models import SpotifyToken
from spotify_auth.tokens import TokenStale
from tests.support.database_faults import locked_elsewhere
from tests.support.sandbox_client import SCOPES
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db(transaction=True)

HTML = {"host": "127.0.0.1:8000", "accept": "text/html,*/*;q=0.8"}
STALE_PAGES = ["/dashboard/", "/connection/", "/"]


@pytest.fixture
def user(connect: Connect) -> User:
    """A user whose token is stale: pages nudge."""
    user = connect(scope=f"{SCOPES} streaming")
    make_due(user, expired=True)
    return user


@pytest.fixture
def browser(user: User) -> Client:
    client = Client(headers=HTML)
    client.force_login(user)
    return client


@pytest.fixture
def read_only(browser: Client) -> Iterator[None]:
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    yield
    database.close()


@pytest.fixture
def away(browser: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody listens where PostgreSQL was."""
    database.close()
    with monkeypatch.context() as patch:
        patch.setitem(database.settings_dict, "PORT", str(free_port()))
        yield
        database.close()


@pytest.mark.parametrize("path", STALE_PAGES)
def test_pages_are_shown_while_the_database_takes_no_changes(
    browser: Client, read_only: None, path: str
) -> None:
    assert browser.get(path).status_code == 200


@pytest.mark.usefixtures("read_only")
def test_programs_hear_that_the_token_is_being_renewed(
    browser: Client, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"origin": "http://127.0.0.1:8000"}
    answers = [browser.get("/api/dashboard-data"), browser.post("/api/spotify/token", headers=own)]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [(503, "reconnecting")] * 2
    assert caplog.text.count(f"nudge_refused user_id={user.pk} reason=InternalError") == 2


@pytest.mark.usefixtures("read_only")
def test_pages_of_projects_and_their_calls_meet_a_stale_token_and_no_error(user: User) -> None:
    @spotify_required
    def page(request: HttpRequest) -> HttpResponse:
        raise AssertionError

    request = RequestFactory().get("/", headers=HTML)
    request.user = user
    request.resolver_match = None

    assert "Reconnecting" in page(request).content.decode()
    with pytest.raises(TokenStale):
        web_api.session_for(user).get("/me")


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize(
    "path",
    [
        "/spotify/login/",
        "/spotify/connect/",
        "/spotify/disconnect/",
        "/account/delete/",
        "/account/reminder/",
        "/logout/",
    ],
)
def test_what_changes_something_says_that_nothing_can_be_changed(
    browser: Client, path: str
) -> None:
    answer = browser.post(path, {"email": "a@example.com"})

    page = answer.content.decode()
    assert (answer.status_code, answer["Retry-After"]) == (503, "60")
    assert "Nothing can be changed just now" in page
    assert 'href="">Try again' not in page  # the address takes no GET
    assert "no-store" in answer["Cache-Control"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]


@pytest.mark.usefixtures("read_only")
def test_a_thread_leaves_a_server_that_refused_a_page() -> None:
    browser = Client(headers=HTML)  # no user, and so no note of the visit
    assert browser.post("/spotify/login/").status_code == 503
    close_old_connections()  # the request ends

    assert browser.post("/spotify/login/").status_code == 302


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(
    "path", ["/dashboard/", "/connection/", "/account/delete/", "/admin/", "/missing/"]
)
def test_each_page_says_that_the_database_is_away(browser: Client, path: str) -> None:
    # A view's fault is no exception for the log; that of an error page has passed it already.
    browser.raise_request_exception = path != "/missing/"

    answer = browser.get(path)

    page = answer.content.decode()
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert "Our database does not answer" in page
    assert "Token Keeper" in page  # in the frame of the site
    assert 'href="">Try again' in page


@pytest.mark.usefixtures("away")
def test_pages_without_a_user_are_served_without_a_database() -> None:
    assert Client(headers=HTML).get("/").status_code == 200


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("path", ["/api/dashboard-data", "/dashboard/"])
@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_programs_get_json(browser: Client, path: str, accept: str) -> None:
    answer = browser.get(path, headers={"accept": accept})

    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert answer.json()["code"] == "database_away"


@pytest.mark.usefixtures("away")
def test_the_answer_asks_the_database_nothing(
    browser: Client, caplog: pytest.LogCaptureFixture
) -> None:
    browser.get("/dashboard/")

    # One attempt to connect, and so one line: a second would have failed the page.
    assert caplog.text.count("database_fault fault=database_away reason=OperationalError") == 1


def test_a_row_that_stays_locked_gives_words(
    browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "longest_exchange", lambda deadline: 0.05)

    with locked_elsewhere(
        "SELECT FROM spotify_auth_spotifytoken WHERE user_id = %s FOR UPDATE", user.pk
    ):
        answer = browser.post("/spotify/disconnect/")

    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert "Please try once more" in answer.content.decode()
    assert token_of(user).status == SpotifyToken.Status.ACTIVE
    assert browser.post("/spotify/disconnect/").status_code == 302


@pytest.mark.parametrize("error", [ProgrammingError("a mistake"), ImproperlyConfigured("x")])
def test_other_errors_are_no_business_of_it(error: Exception) -> None:
    pages = DatabaseFaultMiddleware(lambda request: HttpResponse())

    assert pages.process_exception(RequestFactory().get("/"), error) is None


def test_other_errors_have_the_projects_page(settings: Settings) -> None:
    try:
        raise ValueError
    except ValueError:
        answer = server_error(RequestFactory().get("/"))

    assert answer.status_code == 500
    assert "The fault is ours" in answer.content.decode()
