"""The pages, without a browser: states, who may see what, and what they cost."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.connection_page import connection_of, delay_reason_of
from accounts.models import User
from spotify_auth import connections, cooldown
from spotify_auth.models import ServicePause, SpotifyToken
from spotify_auth.web_api import pause
from tests.support.admin import enter_admin
from tests.support.login import log_in
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect, make_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def listener(connect: Connect, client: Client) -> User:
    user = connect("listener", due=False, scope=SCOPES)
    client.force_login(user)
    return user


@pytest.mark.parametrize("path", ["/dashboard/", "/connection/"])
def test_strangers_are_sent_to_log_in(client: Client, path: str) -> None:
    response = client.get(path)

    assert (response.status_code, response["Location"]) == (302, f"/?next={path}")


def test_the_log_in_button_leads_back_to_the_page_that_was_asked_for(client: Client) -> None:
    assert b'name="next" value="/connection/"' in client.get("/?next=/connection/").content


@pytest.mark.parametrize(
    ("state", "dashboard", "page"),
    [
        ("connected", "Maya Lindqvist", "Connected"),
        ("stale", "Reconnecting to Spotify", "Reconnecting to Spotify"),
        ("reconnect_required", "Please reconnect Spotify", "Reconnect required"),
        ("paused", "Your access to Spotify is paused", "An administrator of this site has paused"),
        ("service_paused", "have paused the renewal of all", "have paused the renewal of all"),
        ("disconnected", "Spotify is not connected", "Not connected"),
    ],
)
def test_each_state_has_its_words(
    client: Client, listener: User, state: str, dashboard: str, page: str
) -> None:
    if state == "stale":
        make_due(listener, expired=True)
    elif state == "reconnect_required":
        SpotifyToken.objects.update(status=state)
    elif state == "paused":
        make_due(listener, expired=True)
        SpotifyToken.objects.update(status=state)
    elif state == "service_paused":
        make_due(listener, expired=True)
        ServicePause.objects.create(by="anna", reason="r")
    elif state == "disconnected":
        connections.disconnect(user_id=listener.pk)

    assert dashboard in client.get("/dashboard/").content.decode()
    assert page in client.get("/connection/").content.decode()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("invalid_grant", "the app was removed"),
        ("answer_lost", "An answer from Spotify was lost"),
        ("six_months_over", "six months after it was approved"),
        ("required_by_admin", "asks you to approve the connection once more"),
    ],
)
def test_each_reason_to_reconnect_has_its_words(
    client: Client, listener: User, reason: str, words: str
) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error=reason)

    for path in ("/dashboard/", "/connection/"):
        assert words in client.get(path).content.decode()


def test_who_never_connected_is_invited(client: Client, spotify: Sandbox) -> None:
    client.force_login(User.objects.create(username="staff"))

    assert b"Spotify is not connected" in client.get("/dashboard/").content
    assert b"Connect Spotify" in client.get("/connection/").content


def test_htmx_gets_the_content_alone(client: Client, listener: User) -> None:
    for path in ("/dashboard/", "/connection/"):
        fragment = client.get(path, headers={"hx-request": "true"}).content
        assert b"<html" not in fragment
        assert len(fragment) > 100


def test_a_poll_that_would_change_nothing_is_answered_with_nothing(
    client: Client, listener: User
) -> None:
    make_due(listener, expired=True)

    response = client.get("/dashboard/?shown=reconnecting", headers={"hx-request": "true"})

    assert (response.status_code, response.content) == (204, b"")


def test_a_poll_that_has_something_new_to_say_is_answered(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    make_due(listener, expired=True)
    cooldown.start(cooldown.Reason.RATE_LIMITED, seconds=60)
    hx = {"hx-request": "true"}

    assert b"slow down" in client.get("/dashboard/?shown=reconnecting", headers=hx).content
    again = client.get("/dashboard/?shown=reconnecting-rate_limited", headers=hx)
    assert again.status_code == 204


@pytest.mark.parametrize(
    ("pause", "failures", "reason"),
    [
        (None, 0, ""),
        (None, 2, "unavailable"),
        (cooldown.Reason.UNAVAILABLE, 0, "unavailable"),
        (cooldown.Reason.RATE_LIMITED, 0, "rate_limited"),
        # Our own credentials are the reason, whatever the row has seen before.
        (cooldown.Reason.CLIENT_REFUSED, 2, "client_refused"),
    ],
)
def test_the_reason_why_a_stale_token_is_late_is_known(
    listener: User, pause: cooldown.Reason | None, failures: int, reason: str
) -> None:
    make_due(listener, expired=True)
    SpotifyToken.objects.update(failures=failures)
    if pause:
        cooldown.start(pause, seconds=60)

    shown = connection_of(listener.pk)

    assert (shown.state, shown.delay_reason) == ("reconnecting", reason)
    assert delay_reason_of(listener.pk) == reason


def test_without_redis_no_reason_is_known(
    listener: User, settings: Settings, no_cooldown: None
) -> None:
    make_due(listener, expired=True)
    cooldown.start(cooldown.Reason.RATE_LIMITED, seconds=60)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert delay_reason_of(listener.pk) == ""


@pytest.mark.parametrize(
    ("fault", "words", "asks_again"),
    [
        ({"status": 503}, "Spotify is not answering", True),
        ({"status": 429, "retry_after": "60"}, "asks us to slow down", True),
        ({"status": 429, "retry_after": "48925"}, "in\n    about 14 hours", True),
        (
            {
                "status": 403,
                "message": "Active premium subscription required for the owner of the app. When",
            },
            "Spotify has switched this site's app off",
            False,
        ),
        (
            {"status": 403, "message": "User not registered in the Developer Dashboard"},
            "on its list of users",
            False,
        ),
    ],
)
def test_what_is_true_of_all_parts_is_said_once(
    client: Client,
    listener: User,
    spotify: Sandbox,
    fault: Mapping[str, object],
    words: str,
    asks_again: bool,
) -> None:
    spotify.faults("web_api_error", **fault)

    content = client.get("/dashboard/").content.decode()

    assert content.count(words) == 1
    assert "Your top artists" not in content
    assert ("hx-trigger" in content) is asks_again


def test_the_wait_is_that_of_the_part_that_waits_longest(client: Client, listener: User) -> None:
    # Two endpoints ask for hours, so all pause for 15 minutes.
    pause.start("/v1/me/top/artists", 48_925)
    pause.start("/v1/me/top/tracks", 48_925)

    content = client.get("/dashboard/").content.decode()

    assert content.count("in\n    about 14 hours") == 1
    assert "15 minutes" not in content


def test_a_paused_track_is_not_playing_now(client: Client, connect: Connect) -> None:
    client.force_login(connect("sleeper", due=False, scope=SCOPES))

    top, rest = client.get("/dashboard/").content.decode().split("Your top artists")

    assert "Nothing is playing" in top
    assert "<h2>Paused</h2>" in rest
    assert 'id="now_playing-1"' in rest


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 403, "message": "x"}, "Spotify does not allow this account"),
        ({"status": 400, "message": "x"}, "Spotify did not understand"),
        ({"status": 404, "message": "x"}, "Spotify has nothing here"),
        ({"status": 503, "message": "x"}, "Spotify is not answering"),
        ({"status": 429, "retry_after": "900"}, "in about 15 minutes"),
    ],
)
def test_a_part_that_fails_says_why_in_its_own_words(
    client: Client, listener: User, spotify: Sandbox, fault: Mapping[str, object], words: str
) -> None:
    spotify.faults("web_api_together", calls=6)
    spotify.faults("web_api_error", path="/v1/me/playlists", **fault)

    content = client.get("/dashboard/").content.decode()

    assert words in content.split("Your playlists")[1]
    assert ("Spotify is not answering" in content) is (fault["status"] == 503)


def test_a_page_comes_back_when_spotify_answers_again(
    client: Client, listener: User, spotify: Sandbox, settings: Settings
) -> None:
    settings.DASHBOARD_KEPT_SECONDS = 0  # or the next two seconds show what failed
    hx = {"hx-request": "true"}
    spotify.faults("web_api_error")
    assert client.get("/dashboard/?shown=unavailable", headers=hx).status_code == 204
    spotify.clear()

    assert b"Maya Lindqvist" in client.get("/dashboard/?shown=unavailable", headers=hx).content


def test_a_status_that_is_shown_already_is_not_said_again(client: Client, listener: User) -> None:
    polled = client.get("/connection/?shown=connected", headers={"hx-request": "true"}).content

    assert b'id="status"' not in polled
    assert b'id="facts"' in polled


def test_a_page_that_polls_after_its_session_has_ended_is_sent_to_log_in(client: Client) -> None:
    home = client.get("/connection/")["Location"]

    answer = client.get(home, headers={"hx-request": "true"})

    assert answer["HX-Redirect"] == "/?next=/connection/"
    assert answer.content == b""


@pytest.mark.parametrize(("days", "asked"), [(29, True), (31, False)])
def test_people_are_asked_to_reconnect_before_the_six_months_end(
    client: Client, listener: User, days: int, asked: bool
) -> None:
    SpotifyToken.objects.update(reauthorize_by=Now() + timedelta(days=days))

    for path in ("/dashboard/", "/connection/"):
        assert (b"Please reconnect by" in client.get(path).content) is asked


def test_people_are_not_asked_by_a_day_that_is_not_known(client: Client, listener: User) -> None:
    SpotifyToken.objects.update(reauthorize_by=Now() + timedelta(days=5), authorized_at_known=False)

    assert b"Please reconnect by" not in client.get("/dashboard/").content
    page = client.get("/connection/").content.decode()
    assert "Please reconnect by" not in page
    assert "</time> at the latest" in page
    assert "</time> or earlier" in page


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(days=8), "Please reconnect by"),
        (timedelta(days=6, hours=1), "Only 6 days left"),
        (timedelta(days=1, hours=1), "Only 1 day left"),
        (timedelta(hours=3), "Only hours left"),
    ],
)
def test_people_are_asked_louder_in_the_last_week(
    client: Client, listener: User, left: timedelta, words: str
) -> None:
    SpotifyToken.objects.update(reauthorize_by=Now() + left)

    for path in ("/dashboard/", "/connection/"):
        content = client.get(path).content.decode()
        assert words in content
        assert "Reconnect now" in content


def test_the_dashboard_asks_again_while_it_waits(client: Client, listener: User) -> None:
    assert b"hx-trigger" not in client.get("/dashboard/").content
    make_due(listener, expired=True)
    assert b'hx-trigger="every 3s"' in client.get("/dashboard/").content


def test_the_dashboard_asks_again_after_a_401(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    spotify.expire_access_tokens("listener")

    content = client.get("/dashboard/").content

    assert b"It is being renewed" in content
    assert b'hx-trigger="every 3s"' in content


def test_no_page_calls_the_token_endpoint_or_takes_a_row_lock(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    make_due(listener, expired=True)

    with CaptureQueriesContext(database) as queries:
        for path in ("/", "/dashboard/", "/connection/", "/dashboard/"):
            assert client.get(path).status_code == 200

    assert spotify.stats()["totals"]["refreshes_attempted"] == 0
    locking = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    assert all("SKIP LOCKED" in sql for sql in locking)  # the nudge, which does not wait


def test_the_connection_page_asks_for_the_token_once(client: Client, listener: User) -> None:
    client.get("/")  # the first page of the day notes that the user was here
    # It polls every two seconds, and says what it shows: session, user, token, history.
    with CaptureQueriesContext(database) as queries:
        client.get("/connection/?shown=connected", headers={"hx-request": "true"})

    assert len([q for q in queries if 'FROM "spotify_auth_spotifytoken"' in q["sql"]]) == 1
    assert len(queries) == 4


def test_pages_with_personal_content_are_not_cached(client: Client, listener: User) -> None:
    for path in ("/dashboard/", "/connection/"):
        assert "no-store" in client.get(path)["Cache-Control"]


def test_the_content_security_policy_is_strict(client: Client) -> None:
    policy = client.get("/")["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_person_can_be_deactivated_in_the_admin(client: Client, listener: User) -> None:
    enter_admin(client, User.objects.create_superuser("root", password="x"))
    address = f"/admin/accounts/user/{listener.pk}/change/"

    response = client.post(address, {"username": "", "first_name": "", "last_name": ""})

    assert response.status_code == 302
    listener.refresh_from_db()
    assert (listener.is_active, listener.username) == (False, None)


def test_a_missing_page_shows_a_way_on(client: Client) -> None:
    response = client.get("/nothing/")

    assert response.status_code == 404
    assert b"Go to the start page" in response.content


def test_a_refused_form_explains_itself() -> None:
    response = Client(enforce_csrf_checks=True).post("/logout/")

    assert response.status_code == 403
    assert b"no longer valid" in response.content


def test_logging_out_needs_a_post(client: Client, listener: User) -> None:
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/"
    assert client.get("/dashboard/").status_code == 302


def test_deleting_a_person_in_the_admin_takes_the_token_along(
    client: Client, listener: User
) -> None:
    enter_admin(client, User.objects.create_superuser("root", password="x"))

    client.post(f"/admin/accounts/user/{listener.pk}/delete/", {"post": "yes"})

    assert not SpotifyToken.objects.exists()


@pytest.mark.django_db
def test_a_tab_that_polls_during_a_log_in_does_not_undo_it(spotify: Sandbox) -> None:
    browser, other_tab = (Client(headers={"host": "127.0.0.1:8000"}) for _ in range(2))
    log_in(browser, spotify, "user-1")
    old_cookie = browser.cookies["sessionid"].value
    log_in(browser, spotify, "user-1")
    assert browser.cookies["sessionid"].value != old_cookie
    other_tab.cookies["sessionid"] = old_cookie

    answer = other_tab.get("/connection/")

    assert answer.status_code == 302
    assert "sessionid" not in answer.cookies
    assert browser.get("/connection/").status_code == 200
    assert browser.post("/logout/").cookies["sessionid"].value == ""


@pytest.mark.parametrize("page", ["/connection/", "/dashboard/"])
@pytest.mark.parametrize(
    ("changes", "offered"),
    [
        ({}, False),  # it takes a moment
        ({"failures": 1}, True),
        ({"failures": 1, "suspected_at": Now()}, True),
    ],
)
def test_who_cannot_see_their_music_may_reconnect_at_once(
    client: Client, listener: User, page: str, changes: dict[str, Any], offered: bool
) -> None:
    make_due(listener, expired=True)
    SpotifyToken.objects.update(**changes)

    text = client.get(page).content.decode()

    assert ("Reconnect now" in text) is offered
    assert ("Spotify refuses to renew" in text) is ("suspected_at" in changes)


def test_a_suspected_token_whose_access_lives_shows_nothing_of_it(
    client: Client, listener: User
) -> None:
    SpotifyToken.objects.update(suspected_at=Now(), failures=1)

    assert "Reconnect now" not in client.get("/connection/").content.decode()
