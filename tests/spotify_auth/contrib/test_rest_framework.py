"""An API of Django REST framework's: who is let through, and what the others are told."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import path
from django.utils.module_loading import import_string
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.views import exception_handler as plain_handler

from accounts.models import User
from dev.process import ROOT
from spotify_auth import connections, tokens, web_api
from spotify_auth.contrib import rest_framework
from spotify_auth.contrib.rest_framework import HasSpotify, SpotifyProblem, around
from spotify_auth.models import SpotifyToken
from spotify_auth.problems import NOT_CONNECTED
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def of_the_project(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """The handler of a project that has its errors in a list."""
    response = plain_handler(error, context)
    if response is not None:
        response.data = {"errors": [response.data]}
    return response


class Api(APIView):  # type: ignore[misc]  # the library has no types
    """As with REST_FRAMEWORK["EXCEPTION_HANDLER"]; here it must not count for other tests."""

    permission_classes = [HasSpotify]

    def get_exception_handler(self) -> rest_framework.Handler:
        return rest_framework.exception_handler

    def get(self, request: Request, name: str = "") -> Response:
        if name == "invalid":
            raise ValidationError({"name": ["No such name."]})
        return Response({"me": web_api.session_for(request.user).get(f"/{name}").json()})


class Player(Api):
    """Needs a scope that the user may not have granted."""

    permission_classes = [HasSpotify.with_scopes("user-top-read", "streaming")]


class OfTheProject(Api):
    """Has no permission of ours, and a handler of its own around which ours is."""

    permission_classes = [IsAuthenticated]

    def get_exception_handler(self) -> rest_framework.Handler:
        return around(of_the_project)

    def get(self, request: Request, name: str = "") -> Response:
        return Response({"until": tokens.access_token_for(request.user).expires_at})


class WithoutOurHandler(APIView):  # type: ignore[misc]  # the library has no types
    permission_classes = [HasSpotify]

    def get(self, request: Request) -> Response:
        return Response({"the view": "ran"})


urlpatterns = [
    path("api/<str:name>", Api.as_view(), name="api"),
    path("player/", Player.as_view()),
    path("own/", OfTheProject.as_view()),
    path("plain/", WithoutOurHandler.as_view()),
]


@pytest.fixture
def user(connect: Connect, client: Client) -> User:
    user = connect(due=False)
    client.force_login(user)
    return user


def test_a_fresh_token_lets_through(user: User, client: Client) -> None:
    answer = client.get("/api/me")

    assert answer.status_code == 200
    assert answer.json()["me"]["display_name"]
    assert client.get("/plain/").json() == {"the view": "ran"}


def test_a_visitor_is_refused_as_rest_framework_does(client: Client) -> None:
    answer = client.get("/api/me")

    # 401 where the first authentication class has a scheme to name, as with tokens.
    assert answer.status_code == 403
    assert answer.json() == {"detail": "Authentication credentials were not provided."}


def test_a_stale_token_is_nudged_and_comes_back_in_a_moment(user: User, client: Client) -> None:
    make_due(user, expired=True)

    answer = client.get("/api/me")

    assert (answer.status_code, answer["Retry-After"]) == (503, "3")
    assert answer.json()["code"] == "reconnecting"
    row = token_of(user)
    assert (row.due_cause, row.asked_by) == ("stale_read", "api")
    # Without our handler REST framework's own says the same.
    plain = client.get("/plain/")
    assert (plain.status_code, plain["Retry-After"]) == (503, "3")
    assert plain.json() == answer.json()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("trouble", ["stale", "refused"])
def test_a_nudge_outlives_the_rollback_of_a_request(
    user: User, client: Client, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """With ATOMIC_REQUESTS REST framework rolls back what a request that failed has written."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    make_due(user, expired=trouble == "stale")
    if trouble == "refused":
        spotify.expire_access_tokens()

    answer = client.get("/api/me")

    assert (answer.status_code, answer.json()["code"]) == (503, "reconnecting")
    cause = "stale_read" if trouble == "stale" else "unauthorized"
    assert token_of(user).due_cause == cause


def test_who_must_connect_is_told_why(user: User, client: Client) -> None:
    SpotifyToken.objects.update(status="reconnect_required", last_error="invalid_grant")
    refused = client.get("/api/me")
    connections.disconnect(user_id=user.pk)
    gone = client.get("/api/me")

    assert (refused.status_code, gone.status_code) == (409, 409)
    assert refused.json()["reason"] == "invalid_grant"
    assert gone.json()["code"] == "not_connected"


def test_missing_scopes_are_named(user: User, client: Client) -> None:
    answer = client.get("/player/")

    assert answer.status_code == 403
    assert answer.json()["code"] == "insufficient_scope"
    assert answer.json()["scopes"] == ["streaming"]


def test_what_the_web_api_says_is_an_answer(user: User, client: Client, spotify: Sandbox) -> None:
    unknown = client.get("/api/nothing-here")
    spotify.faults("web_api_error", path="/v1/me", status=429, message="slow", retry_after="7")
    limited = client.get("/api/me")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (limited.status_code, limited.json()["code"]) == (503, "rate_limited")
    assert 6 <= int(limited["Retry-After"]) <= 8


def test_all_other_errors_are_rest_frameworks(user: User, client: Client) -> None:
    answer = client.get("/api/invalid")

    assert (answer.status_code, answer.json()) == (400, {"name": ["No such name."]})


def test_nobody_keeps_what_is_said_of_spotify() -> None:
    ours = rest_framework.exception_handler(tokens.NotConnected(), {})
    others = rest_framework.exception_handler(ValidationError("no"), {})

    assert ours is not None
    assert others is not None
    assert "no-store" in ours["Cache-Control"]
    assert "Cache-Control" not in others
    assert rest_framework.exception_handler(KeyError("a bug"), {}) is None


def test_a_handler_of_the_project_has_the_last_word(user: User, client: Client) -> None:
    connections.disconnect(user_id=user.pk)

    answer = client.get("/own/")

    assert answer.status_code == 409
    assert answer.json()["errors"][0]["code"] == "not_connected"


def test_a_problem_says_its_code_as_others_do() -> None:
    assert SpotifyProblem(NOT_CONNECTED).get_codes() == {
        "code": "not_connected",
        "message": "not_connected",
    }


def test_the_examples_of_the_guide_are_right() -> None:
    """docs/how-to/add-to-a-project.md names the handler as settings do, and a permission."""
    guide = (ROOT / "docs/how-to/add-to-a-project.md").read_text()
    section = guide.split("## An API with Django REST framework", 1)[1].split("\n## ", 1)[0]
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(block, names)  # noqa: S102  (our own text)

    handler = import_string(names["REST_FRAMEWORK"]["EXCEPTION_HANDLER"])
    (permission,) = names["Artists"].permission_classes
    assert handler is rest_framework.exception_handler
    assert issubclass(permission, HasSpotify)
    assert permission.scopes == {"user-top-read"}
    assert HasSpotify.scopes == set()
