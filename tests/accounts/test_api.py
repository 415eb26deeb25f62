"""GET /api/dashboard-data: the dashboard as JSON, held to its schema."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from jsonschema import Draft202012Validator

from accounts import dashboard
from accounts.models import User
from dev.process import ROOT
from spotify_auth import connections
from spotify_auth.models import Cause, SpotifyToken
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = pytest.mark.django_db

ADDRESS = "/api/dashboard-data"
SCHEMA: dict[str, Any] = json.loads(
    (ROOT / "docs/reference/dashboard-data.schema.json").read_text()
)
ANSWER = Draft202012Validator(SCHEMA)
PROBLEM = Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": "#/$defs/problem"})


OWNER = "Active premium subscription required for the owner of the app. When the subscription"


@pytest.fixture
def listener(connect: Connect, client: Client) -> User:
    user = connect("listener", due=False, scope=SCOPES)
    client.force_login(user)
    return user


def states(body: dict[str, Any]) -> dict[str, str]:
    return {name: part["state"] for name, part in body["parts"].items()}


def test_holds_everything_that_the_dashboard_shows(client: Client, listener: User) -> None:
    body = client.get(ADDRESS).json()
    shown = dashboard.load(listener)

    ANSWER.validate(body)
    assert list(body["parts"]) == list(dashboard.CALLS)
    assert set(states(body).values()) == {"ok"}
    for name in ("profile", "top_artists", "top_tracks", "playlists"):
        names = [item["name"] for item in body["parts"][name]["items"]]
        assert names == [item.name for item in shown[name].items]
    assert body["reconnect_by"] is None


@pytest.mark.parametrize(
    "persona",
    ["newcomer", "commuter", "podcaster", "sleeper", "archivist", "outsider"],
)
def test_every_listener_fits_the_schema(client: Client, connect: Connect, persona: str) -> None:
    client.force_login(connect(persona, due=False, scope=SCOPES))

    ANSWER.validate(client.get(ADDRESS).json())


def test_a_part_without_anything_is_empty(client: Client, connect: Connect) -> None:
    client.force_login(connect("newcomer", due=False, scope=SCOPES))

    part = client.get(ADDRESS).json()["parts"]["now_playing"]

    assert part == {"state": "empty", "items": []}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 403, "message": "Insufficient client scope"}, "insufficient_scope"),
        ({"status": 403, "message": "x"}, "forbidden"),
        ({"status": 403, "message": OWNER}, "owner_without_premium"),
        ({"status": 403, "message": OWNER, "plain": True}, "owner_without_premium"),
        ({"status": 404, "message": "x"}, "not_found"),
        ({"status": 503, "message": "x"}, "unavailable"),
        ({"status": 429, "message": "x", "retry_after": "9"}, "rate_limited"),
    ],
)
def test_a_part_that_fails_fails_alone(
    client: Client, listener: User, spotify: Sandbox, fault: dict[str, object], code: str
) -> None:
    # All are under way before one fails, so that a pause meets none of the others.
    spotify.faults("web_api_together", calls=len(dashboard.CALLS))
    spotify.faults("web_api_error", path="/v1/me/playlists", **fault)

    answer = client.get(ADDRESS)

    body = answer.json()
    ANSWER.validate(body)
    assert answer.status_code == 200
    wait = {"retry_after": 10} if code == "rate_limited" else {}
    failed = {"state": "error", "code": code, "items": [], **wait}
    assert body["parts"].pop("playlists") == failed
    assert set(states(body).values()) == {"ok"}


def test_the_token_is_read_once_and_used_for_all_calls(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    with CaptureQueriesContext(database) as queries:
        client.get(ADDRESS)

    assert len([query for query in queries if "access_token" in query["sql"]]) == 1
    assert spotify.stats()["totals"]["web_api_calls"] == len(dashboard.CALLS)


def test_the_calls_are_made_at_the_same_time(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    # None is answered before the last has arrived: one after the other would be too late.
    spotify.faults("web_api_together", calls=len(dashboard.CALLS))

    body = client.get(ADDRESS).json()
    assert set(states(body).values()) == {"ok"}, body


def test_strangers_are_refused_in_json(client: Client) -> None:
    answer = client.get(ADDRESS)

    PROBLEM.validate(answer.json())
    assert (answer.status_code, answer.json()["code"]) == (401, "not_logged_in")
    assert "no-store" in answer["Cache-Control"]


def go_stale(user: User) -> None:
    make_due(user, expired=True)


def need_a_reconnect(user: User) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error="six_months_over")


def pause(user: User) -> None:
    make_due(user, expired=True)
    SpotifyToken.objects.update(status="paused")


def disconnect(user: User) -> None:
    connections.disconnect(user_id=user.pk)


@pytest.mark.parametrize(
    ("happens", "status", "code", "more"),
    [
        (go_stale, 503, "reconnecting", {}),
        (need_a_reconnect, 409, "reconnect_required", {"reason": "six_months_over"}),
        (pause, 503, "paused", {}),
        (disconnect, 409, "not_connected", {}),
    ],
)
def test_each_state_has_its_status_and_code(
    client: Client,
    listener: User,
    happens: Callable[[User], None],
    status: int,
    code: str,
    more: dict[str, str],
) -> None:
    happens(listener)

    answer = client.get(ADDRESS)

    PROBLEM.validate(answer.json())
    assert answer.status_code == status
    assert answer.json().items() >= {"code": code, **more}.items()
    assert answer.get("Retry-After") == {"reconnecting": "3", "paused": "60"}.get(code)
    assert "no-store" in answer["Cache-Control"]


def test_a_stale_token_is_nudged_and_never_refreshed(
    client: Client, listener: User, spotify: Sandbox
) -> None:
    go_stale(listener)

    client.get(ADDRESS)

    token = token_of(listener)
    assert (token.due_cause, token.asked_by) == (Cause.STALE_READ, "accounts:dashboard_data")
    totals = spotify.stats()["totals"]
    assert (totals["refreshes_attempted"], totals["web_api_calls"]) == (0, 0)


def test_people_are_told_before_the_six_months_end(client: Client, listener: User) -> None:
    SpotifyToken.objects.update(reauthorize_by=Now() + timedelta(days=20))

    body = client.get(ADDRESS).json()

    ANSWER.validate(body)
    assert body["reconnect_by"].startswith(f"{token_of(listener).reauthorize_by:%Y-%m-%d}")


def test_no_browser_keeps_it(client: Client, listener: User) -> None:
    answer = client.get(ADDRESS)

    assert "no-store" in answer["Cache-Control"]
    assert "Cookie" in answer["Vary"]


def test_an_answer_that_has_not_changed_is_not_sent_again(client: Client, listener: User) -> None:
    etag = client.get(ADDRESS)["ETag"]

    again = client.get(ADDRESS, headers={"if-none-match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == etag
    assert "no-store" in again["Cache-Control"]


def test_another_persons_etag_is_worth_nothing(
    client: Client, listener: User, connect: Connect
) -> None:
    etag = client.get(ADDRESS)["ETag"]
    client.force_login(connect("podcaster", due=False, scope=SCOPES))

    answer = client.get(ADDRESS, headers={"if-none-match": etag})

    assert answer.status_code == 200
    assert b"Maya" not in answer.content


def test_only_reading_is_answered(client: Client, listener: User) -> None:
    assert client.post(ADDRESS).status_code == 405
    assert client.head(ADDRESS).status_code == 200


def test_no_token_is_in_the_answer(client: Client, listener: User) -> None:
    stored = token_of(listener)
    content = client.get(ADDRESS).content.decode()

    for secret in (stored.access_token, stored.refresh_token):
        assert secret
        assert secret not in content


def test_the_schema_refuses_what_the_endpoint_must_not_send(client: Client, listener: User) -> None:
    body = client.get(ADDRESS).json()

    changes: tuple[dict[str, Any], ...] = (
        {"access_token": "x"},
        {"parts": {}},
        {"parts": {**body["parts"], "profile": {"state": "error", "items": []}}},
        {"parts": {**body["parts"], "profile": {"state": "empty", "items": [{}]}}},
        {"parts": {**body["parts"], "profile": {"state": "ok", "items": []}}},
    )
    for change in changes:
        assert not ANSWER.is_valid({**body, **change})
