"""The export of one's data: complete, without a secret, and never whole in memory."""

import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from jsonschema import Draft202012Validator
from pytest_django import Settings

from accounts import export
from accounts.models import LoginSession, ReconnectReminder, User
from dev.process import ROOT
from spotify_auth.models import SpotifyToken, TokenEvent
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

SCHEMA = json.loads((ROOT / "docs/reference/my-data.schema.json").read_text())
ADDRESS = "/account/data/"


def download(user: User) -> dict[str, Any]:
    browser = Client(headers={"user-agent": "Firefox/140 (Linux)"})
    browser.force_login(user)
    browser.get("/connection/")
    answer = browser.get(ADDRESS)
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.getvalue())
    Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(found)
    return found


def models_about_users() -> set[type[Model]]:
    """Each model with a reference to a user, but for the tables that only join two others."""
    return {User} | {
        model
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete and field.related_model is User
    }


def test_every_table_about_users_is_exported() -> None:
    assert set(export.FIELDS) == set(export.WITHHELD) == models_about_users()


@pytest.mark.parametrize("model", export.FIELDS)
def test_every_field_is_exported_or_withheld_for_a_reason(model: type[Model]) -> None:
    fields = {field.name for field in model._meta.concrete_fields}
    given, withheld = set(export.FIELDS[model]), set(export.WITHHELD[model])

    assert given | withheld == fields, "a new field: export it, or say why not"
    assert not given & withheld


def test_exports_all_that_is_known_of_a_user(connect: Connect) -> None:
    user = connect()
    user.groups.add(Group.objects.create(name="support"))
    ReconnectReminder.objects.create(
        user=user, reauthorize_by=token_of(user).reauthorize_by, days=30
    )
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(User),
        object_id="1",
        object_repr="Somebody",
        action_flag=CHANGE,
        change_message="",
    )

    found = download(user)

    assert found["user"]["account_id"] == token_of(user).account_id
    assert found["user"]["display_name"] == "user-1"
    assert found["connection"]["scope"] == "user-top-read"
    assert [event["outcome"] for event in found["history"]] == ["connected"]
    assert [each["user_agent"] for each in found["sessions"]] == ["Firefox/140 (Linux)"]
    assert found["groups"] == ["support"]
    assert found["reminders"][0]["days"] == 30
    assert found["administration"][0]["object_repr"] == "Somebody"
    assert found["last_seen"]["seen_at"]


def test_exports_no_secret(connect: Connect) -> None:
    user = connect()
    user.set_password("a-long-password")
    user.save()
    token = token_of(user)

    text = json.dumps(download(user))

    key = LoginSession.objects.get().session_id
    for secret in (token.access_token, token.refresh_token, user.password, key):
        assert secret
        assert secret not in text
    assert "access_token" not in text


def test_exports_nothing_of_anybody_else(connect: Connect) -> None:
    user, other = connect("user-1"), connect("user-2")
    TokenEvent.objects.create(
        user=other, cause="admin", outcome="refreshed", asked_by="the-event-of-user-2"
    )

    text = json.dumps(download(user))

    assert str(token_of(other).account_id) not in text
    assert "user-2" not in text


def test_a_user_who_never_connected_has_an_export_too() -> None:
    found = download(User.objects.create(username="ada"))

    assert (found["connection"], found["history"]) == (None, [])


def test_a_long_history_is_read_in_pages(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    user = connect()
    TokenEvent.objects.bulk_create(
        TokenEvent(user=user, cause="schedule", outcome="refreshed", duration_ms=number)
        for number in range(25)
    )
    monkeypatch.setattr(export, "AT_ONCE", 10)

    with CaptureQueriesContext(database) as queries:
        history = download(user)["history"]

    assert [event["duration_ms"] for event in history] == [*range(24, -1, -1), None]
    pages = [
        q for q in queries.captured_queries if "tokenevent" in q["sql"] and "LIMIT 10" in q["sql"]
    ]
    assert len(pages) == 3


def test_it_is_a_file_that_nothing_keeps(connect: Connect) -> None:
    browser = Client()
    browser.force_login(connect())

    answer = browser.get(ADDRESS)

    assert answer.streaming
    assert "no-store" in answer["Cache-Control"]
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["Content-Type"] == "application/json"


def test_is_a_page_with_data_that_one_address_may_not_ask_for_without_end(
    connect: Connect, settings: Settings
) -> None:
    settings.RATE_LIMIT_ADDRESS = 1
    browser = Client()
    browser.force_login(connect())

    assert [browser.get(ADDRESS).status_code for _ in range(2)] == [200, 429]


def test_only_for_users() -> None:
    assert Client().get(ADDRESS)["Location"].startswith(reverse("accounts:home"))


def test_every_token_field_is_in_the_schema() -> None:
    connection = SCHEMA["properties"]["connection"]["properties"]

    assert set(connection) == set(export.FIELDS[SpotifyToken])
