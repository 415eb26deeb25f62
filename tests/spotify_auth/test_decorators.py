"""`spotify_required`: who gets to the view, and what the others see."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from accounts.models import User
from config.urls import urlpatterns as site
from spotify_auth import connections, web_api
from spotify_auth.decorators import WAITING_PAGE, WAITING_PART, spotify_required
from spotify_auth.models import SpotifyToken
from spotify_auth.web_api import ForeignAddress
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

JSON = {"accept": "application/json"}
HTMX = {"hx-request": "true", "hx-current-url": "http://127.0.0.1/music/?a=b"}


@spotify_required
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the view ran")


@spotify_required(scopes=("user-top-read", "streaming"))
def player(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the view ran")


@spotify_required
def careless(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(web_api.session_for(request.user).get(f"/{name}"))


@spotify_required
def wrong(request: HttpRequest) -> HttpResponse:
    return HttpResponse(web_api.session_for(request.user).get("https://elsewhere.example/"))


urlpatterns = [
    path("wrong/", wrong),
    path("plain/", plain, name="plain"),
    path("player/", player),
    path("careless/<str:name>/", careless),
    *site,
]


@pytest.fixture
def user(connect: Connect, client: Client) -> User:
    user = connect(due=False)
    client.force_login(user)
    return user


def go_stale(user: User) -> None:
    make_due(user, expired=True)


def need_a_reconnect(user: User) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error="answer_lost")


def pause(user: User) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(status="paused")


def disconnect(user: User) -> None:
    connections.disconnect(user_id=user.pk)


def test_lets_a_fresh_token_through(client: Client, user: User) -> None:
    for headers in ({}, JSON, HTMX):
        assert client.get("/plain/", headers=headers).content == b"the view ran"


@pytest.mark.parametrize(
    ("happens", "words", "status", "code"),
    [
        (go_stale, "Reconnecting to Spotify", 503, "reconnecting"),
        (need_a_reconnect, "An answer from Spotify was lost", 409, "reconnect_required"),
        (pause, "Your access to Spotify is paused", 503, "paused"),
        (disconnect, "Spotify is not connected", 409, "not_connected"),
    ],
)
def test_each_state_is_told_in_the_form_that_was_asked_for(
    client: Client,
    user: User,
    happens: Callable[[User], None],
    words: str,
    status: int,
    code: str,
) -> None:
    happens(user)

    page, part = client.get("/plain/"), client.get("/plain/", headers=HTMX)
    answer = client.get("/plain/", headers=JSON)

    assert words in page.content.decode()
    assert "<html" in page.content.decode()
    assert words in part.content.decode()
    assert "<html" not in part.content.decode()
    assert (page.status_code, part.status_code) == (200, 200)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ("Retry-After" in answer) is (status == 503)
    assert all("no-store" in response["Cache-Control"] for response in (page, part, answer))


def test_the_reason_of_a_reconnect_is_told(client: Client, user: User) -> None:
    need_a_reconnect(user)

    assert client.get("/plain/", headers=JSON).json()["reason"] == "answer_lost"


def test_a_program_that_sends_json_is_answered_in_json(client: Client, user: User) -> None:
    disconnect(user)

    answer = client.post("/plain/", {}, content_type="application/json")

    assert answer.json()["code"] == "not_connected"


def test_a_scope_that_was_not_granted_is_asked_for(client: Client, user: User) -> None:
    page = client.get("/player/").content.decode()
    answer = client.get("/player/", headers=JSON)

    assert "needs more from Spotify" in page
    assert "Reconnect Spotify" in page
    assert answer.status_code == 403
    assert answer.json()["code"] == "insufficient_scope"
    assert answer.json()["scopes"] == ["streaming"]


def test_scopes_that_were_granted_open_the_view(client: Client, connect: Connect) -> None:
    client.force_login(connect("user-2", due=False, scope="user-top-read streaming"))

    assert client.get("/player/").content == b"the view ran"


@pytest.mark.parametrize(
    ("headers", "leads_to"),
    [({}, "/plain/?a=b"), (HTMX, "/music/?a=b")],
)
def test_the_log_in_leads_back_to_the_page(
    client: Client, user: User, headers: dict[str, str], leads_to: str
) -> None:
    disconnect(user)

    page = client.get("/plain/?a=b", headers=headers).content.decode()

    assert f'name="next" value="{leads_to}"' in page


def test_strangers_are_sent_to_log_in(client: Client) -> None:
    page, part = client.get("/plain/"), client.get("/plain/", headers=HTMX)
    answer = client.get("/plain/", headers=JSON)

    assert (page.status_code, page["Location"]) == (302, "/?next=/plain/")
    assert part["HX-Redirect"] == "/?next=/music/%3Fa%3Db"
    assert (answer.status_code, answer.json()["code"]) == (401, "not_logged_in")


@pytest.mark.parametrize(
    ("headers", "element"), [({}, WAITING_PAGE), (HTMX, WAITING_PART)], ids=["page", "part"]
)
def test_what_waits_asks_again_and_goes_on_by_itself(
    client: Client, user: User, headers: dict[str, str], element: str
) -> None:
    go_stale(user)
    waiting = client.get("/plain/?a=b", headers=headers).content.decode()
    assert f'id="{element}" hx-get="/plain/?a=b" hx-trigger="every 3s"' in waiting
    polls = {**HTMX, "hx-trigger": element}

    still = client.get("/plain/?a=b", headers=polls)
    SpotifyToken.objects.update(expires_at=connections.database_now() + timedelta(hours=1))
    ready = client.get("/plain/?a=b", headers=polls)

    assert (still.status_code, still.content) == (204, b"")
    if element == WAITING_PAGE:
        assert (ready["HX-Refresh"], ready.content) == ("true", b"")  # the whole page anew
    else:
        assert ready.content == b"the view ran"


def test_a_form_that_met_a_stale_token_is_not_sent_again(client: Client, user: User) -> None:
    go_stale(user)

    answer = client.post("/plain/")

    assert b"hx-get" not in answer.content
    assert "Refresh" not in answer


def test_a_waiting_page_reloads_itself_in_case_that_polling_fails(
    client: Client, user: User
) -> None:
    go_stale(user)

    # This site has htmx; tests/standalone has a page without.
    assert client.get("/plain/")["Refresh"] == "30"
    assert "Refresh" not in client.get("/plain/", headers=HTMX)
    need_a_reconnect(user)
    assert "Refresh" not in client.get("/plain/")


@pytest.mark.parametrize(
    ("url", "leads_to"),
    [
        ("http://127.0.0.1/music/?a=b", "/music/?a=b"),
        ("https://127.0.0.1/music/", "/"),  # another scheme
        ("http://evil.example/music/", "/"),
        ("", "/"),
    ],
)
def test_a_part_leads_back_to_a_page_of_this_site_only(
    client: Client, user: User, url: str, leads_to: str
) -> None:
    disconnect(user)

    part = client.get("/plain/", headers={"hx-request": "true", "hx-current-url": url})

    assert f'name="next" value="{leads_to}"' in part.content.decode()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 401, "message": "x"}, 503, "reconnecting"),
        ({"status": 403, "message": "Insufficient client scope"}, 403, "insufficient_scope"),
        ({"status": 403, "message": "x"}, 403, "forbidden"),
        ({"status": 404, "message": "x"}, 404, "not_found"),
        ({"status": 400, "message": "x"}, 502, "bad_request"),
        ({"status": 429, "message": "x", "retry_after": "9"}, 503, "rate_limited"),
        ({"status": 500, "message": "x"}, 502, "unavailable"),
    ],
)
def test_errors_that_the_view_lets_through_are_told_too(
    client: Client, user: User, spotify: Sandbox, fault: dict[str, object], status: int, code: str
) -> None:
    spotify.faults("web_api_error", **fault)

    page, answer = client.get("/careless/me/"), client.get("/careless/me/", headers=JSON)

    assert page.status_code == 200
    assert b'class="notice"' in page.content
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if code == "rate_limited":
        assert 1 <= int(answer["Retry-After"]) <= 10


def test_other_errors_are_the_views_own(client: Client, user: User) -> None:
    with pytest.raises(ForeignAddress):
        client.get("/wrong/")


def test_the_history_names_the_page_behind_a_nudge(client: Client, user: User) -> None:
    go_stale(user)
    SpotifyToken.objects.update(due_at=connections.database_now())

    client.get("/plain/")

    assert token_of(user).asked_by == "plain"
