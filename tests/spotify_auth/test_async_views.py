"""Async views: the same answers as sync ones, templates that render, middleware both ways."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from pytest_django import Settings

from accounts.models import User
from config.urls import urlpatterns as site
from spotify_auth import connection_state, connections, web_api
from spotify_auth.both_ways import BothWays
from spotify_auth.database_fault_pages import DatabaseFaultMiddleware
from spotify_auth.decorators import spotify_required
from spotify_auth.health import HealthMiddleware
from spotify_auth.metrics import MetricsMiddleware
from spotify_auth.middleware import LastSeenMiddleware
from spotify_auth.models import LastSeen, SpotifyToken
from spotify_auth.web_api import reading
from tests.support.asynchronous import run_async, without_the_browsers_loop
from tests.support.lanes import refresh_next
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

FORMS = {
    "page": {},
    "json": {"accept": "application/json"},
    "htmx": {"hx-request": "true", "hx-current-url": "http://127.0.0.1/music/?a=b"},
}
ME: dict[str, tuple[str, dict[str, str | int]]] = {"profile": ("/me", {})}
TEMPLATE = Template(
    "{% load spotify %}{% spotify_connection as spotify %}{{ spotify.state }} {{ spotify.scopes }}"
)


@spotify_required(scopes=("user-top-read",))
def sync_view(request: HttpRequest) -> HttpResponse:
    web_api.session_for(request.user).get("/me")
    return HttpResponse("the view ran")


@spotify_required(scopes=("user-top-read",))
async def async_view(request: HttpRequest) -> HttpResponse:
    answer = (await web_api.aget_all(request.user, ME))["profile"]
    if isinstance(answer, web_api.WebApiError):
        raise answer
    return HttpResponse("the view ran")


class ClassBased(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(TEMPLATE.render(Context({"request": request})))


@method_decorator(spotify_required, name="dispatch")
class ByMethod(ClassBased):
    """Decorated as Django's own documentation decorates sync views."""


@spotify_required
async def with_template(request: HttpRequest) -> HttpResponse:
    return render(request, "base.html")  # with the context processors of the site


async def unprotected(request: HttpRequest) -> HttpResponse:
    await connection_state.aconnection_of(request)
    return HttpResponse(TEMPLATE.render(Context({"request": request})))


async def unread(request: HttpRequest) -> HttpResponse:
    await request.auser()
    return HttpResponse(TEMPLATE.render(Context({"request": request})))


urlpatterns = [
    path("sync/", sync_view),
    path("async/", async_view),
    path("class/", spotify_required(ClassBased.as_view())),
    path("template/", with_template),
    path("unprotected/", unprotected),
    path("unread/", unread),
    *site,
]


@pytest.fixture(autouse=True)
def _no_loop() -> Iterator[None]:
    with without_the_browsers_loop():
        yield


@pytest.fixture
def user(connect: Connect, client: Client) -> User:
    user = connect(due=False)
    client.force_login(user)
    return user


def nothing(user: User, spotify: Sandbox) -> None:
    """All is well."""


def go_stale(user: User, spotify: Sandbox) -> None:
    make_due(user, expired=True)


def need_a_reconnect(user: User, spotify: Sandbox) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error="answer_lost")


def pause(user: User, spotify: Sandbox) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(status="paused")


def disconnect(user: User, spotify: Sandbox) -> None:
    connections.disconnect(user_id=user.pk)


def grant_less(user: User, spotify: Sandbox) -> None:
    SpotifyToken.objects.update(scope="streaming")


def meet_an_error(user: User, spotify: Sandbox) -> None:
    spotify.faults("web_api_error", status=403, message="x")


def be_rate_limited(user: User, spotify: Sandbox) -> None:
    spotify.faults("web_api_error", status=429, message="x", retry_after="9")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "happens",
    [
        nothing,
        go_stale,
        need_a_reconnect,
        pause,
        disconnect,
        grant_less,
        meet_an_error,
        be_rate_limited,
    ],
)
def test_an_async_view_answers_as_a_sync_one(
    client: Client,
    user: User,
    spotify: Sandbox,
    happens: Callable[[User, Sandbox], None],
    form: str,
) -> None:
    happens(user, spotify)

    sync, by_async = (client.get(f"/{kind}/", headers=FORMS[form]) for kind in ("sync", "async"))

    assert (sync.content == b"the view ran") is (happens is nothing)
    assert by_async.status_code == sync.status_code
    assert _comparable(by_async) == _comparable(sync)
    assert by_async.headers.keys() == sync.headers.keys()


def test_an_async_view_that_is_decorated_by_its_method_says_what_to_do(
    rf: RequestFactory, user: User
) -> None:
    request = rf.get("/")
    request.user = user

    async def ask() -> None:
        await ByMethod.as_view()(request)  # type: ignore[misc]  # it is async, and looks sync

    with pytest.raises(SynchronousOnlyOperation, match="decorate the view as a whole"):
        run_async(ask)


def test_strangers_are_sent_to_log_in(client: Client, db: None) -> None:
    answers = [client.get("/async/", headers=headers) for headers in FORMS.values()]

    assert [answer.status_code for answer in answers] == [302, 401, 200]
    assert "HX-Redirect" in answers[2]


def test_a_class_based_view_is_decorated_as_a_whole(client: Client, user: User) -> None:
    shown = client.get("/class/")

    assert shown.content.startswith(b"connected")
    connections.disconnect(user_id=user.pk)
    assert client.get("/class/", headers=FORMS["json"]).status_code == 409


@pytest.mark.parametrize("page", ["template", "unprotected"])
def test_templates_of_an_async_view_need_no_query(client: Client, user: User, page: str) -> None:
    assert client.get(f"/{page}/").status_code == 200


def test_the_page_of_a_problem_may_ask_the_database(
    client: Client, user: User, spotify: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "spotify_auth").mkdir()
    (tmp_path / "spotify_auth/problem.html").write_text("{{ perms.accounts.change_user }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    meet_an_error(user, spotify)

    assert client.get("/async/").content == b"False"


def test_a_tag_that_nobody_has_read_for_says_what_to_do(client: Client, user: User) -> None:
    with pytest.raises(SynchronousOnlyOperation, match=r"await connection_state\.aconnection_of"):
        client.get("/unread/")


def test_the_async_state_is_that_of_the_tag(user: User) -> None:
    request = RequestFactory().get("/")
    request.user = user
    make_due(user, expired=True)

    assert run_async(connection_state.aconnection_of, request).state == "reconnecting"
    assert token_of(user).due_cause == "stale_read"  # it was nudged


def test_an_async_page_finds_a_rotated_token_and_repeats_the_call(
    connect: Connect, spotify: Sandbox
) -> None:
    user = connect()
    stale = reading.read(user)
    refresh_next()
    spotify.expire_access_tokens()  # of the generation that is still in hand
    make_due(user)
    refresh_next()

    answers = run_async(web_api.aget_all, user, ME, token=stale)

    assert isinstance(answers["profile"], dict)


def test_a_user_who_was_loaded_by_auser_is_seen(client: Client, user: User) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        client.get("/unread/")  # its template fails; it has asked who its user is

    assert LastSeen.objects.filter(pk=user.pk).exists()


OURS = [HealthMiddleware, MetricsMiddleware, DatabaseFaultMiddleware, LastSeenMiddleware]


@pytest.mark.parametrize("middleware", OURS)
def test_a_middleware_is_called_in_the_way_of_what_it_wraps(middleware: type[BothWays]) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("the view ran")

    asynchronous = middleware(view)
    synchronous = middleware(lambda request: HttpResponse("the view ran"))

    assert middleware.sync_capable
    assert middleware.async_capable
    assert iscoroutinefunction(asynchronous)
    assert not iscoroutinefunction(synchronous)
    answers = [run_async(asynchronous, RequestFactory().get("/"))]
    answers.append(synchronous(RequestFactory().get("/")))
    assert [answer.content for answer in answers] == [b"the view ran"] * 2


@pytest.mark.parametrize(
    ("middleware", "page", "headers"),
    [
        (HealthMiddleware, "/livez", {}),
        (HealthMiddleware, "/readyz?exclude=sweep", {}),
        (MetricsMiddleware, "/metrics", {"authorization": "Bearer of-the-operator"}),
        (MetricsMiddleware, "/metrics", {"authorization": "Bearer wrong"}),
    ],
)
def test_probes_and_scrapes_are_answered_in_both_ways(
    settings: Settings, middleware: type[BothWays], page: str, headers: dict[str, str]
) -> None:
    settings.OPERATIONS_TOKEN = "of-the-operator"

    async def unasked(request: HttpRequest) -> HttpResponse:
        raise AssertionError("the site was asked")

    request = RequestFactory().get(page, headers=headers)
    by_async: HttpResponse = run_async(middleware(unasked), request)
    sync: Any = middleware(lambda request: HttpResponse("the site"))(request)

    assert by_async.status_code == sync.status_code == (404 if "wrong" in str(headers) else 200)
    assert by_async.content != b"the site"
    for answer in (by_async, sync):
        answer.headers.pop("Expires", None)  # the moment of the answer
    assert by_async.headers == sync.headers


def _comparable(answer: Any) -> str:
    """The content without what each request has of its own."""
    text = re.sub(r'value="[^"]{64}"|nonce-[^"]+|/(a?sync)/', "", answer.content.decode())
    return re.sub(r"\b[0-9a-f]{16,}\b", "", text)
