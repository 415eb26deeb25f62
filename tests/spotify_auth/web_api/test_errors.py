"""What each answer of the Web API becomes. The answers come over a real socket."""

import pytest

from spotify_auth import tokens, web_api
from spotify_auth.web_api import transport
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (401, "The access token expired", web_api.Unauthorized),
        (403, "Insufficient client scope", web_api.InsufficientScope),
        (403, "Insufficient client scope.", web_api.InsufficientScope),
        # a word is not a reason
        (403, "Player command failed: out of scope", web_api.Forbidden),
        (403, "User not registered in the Developer Dashboard", web_api.NotAllowed),
        (
            403,
            "Check settings on developer.spotify.com/dashboard, the user may not be registered.",
            web_api.NotAllowed,
        ),
        (
            403,
            "The user is not registered for this application. "
            "Please check your settings on https://developer.spotify.com/dashboard.",
            web_api.NotAllowed,
        ),
        (403, "Player command failed: Premium required", web_api.Forbidden),
        (
            403,
            "Active premium subscription required for the owner of the app. When the "
            "subscription status changes, it can take a few hours before requests are allowed "
            "again.",
            web_api.OwnerWithoutPremium,
        ),
        (403, "", web_api.Forbidden),
        (404, "Not found", web_api.NotFound),
        (400, "Invalid limit", web_api.BadRequest),
        (415, "x", web_api.BadRequest),
        (500, "x", web_api.Unavailable),
        (503, "Service unavailable", web_api.Unavailable),
        (302, "x", web_api.Unavailable),  # nothing is followed
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_each_answer_has_its_error(
    connect: Connect,
    spotify: Sandbox,
    status: int,
    message: str,
    error: type[web_api.WebApiError],
    plain: bool,
) -> None:
    token = tokens.access_token_for(connect(due=False))
    spotify.faults("web_api_error", status=status, message=message, plain=plain)

    with pytest.raises(web_api.WebApiError) as caught:
        web_api.get(token.value, "/me")

    assert type(caught.value) is error


def test_an_owner_without_premium_is_an_error_in_the_log_once_a_minute(
    connect: Connect, spotify: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    token = tokens.access_token_for(connect(due=False))
    message = "Active premium subscription required for the owner of the app."
    spotify.faults("web_api_error", status=403, message=message, plain=True)

    for _ in range(3):
        with pytest.raises(web_api.OwnerWithoutPremium):
            web_api.get(token.value, "/me")

    lines = [record.levelname for record in caplog.records if "premium" in record.getMessage()]
    assert lines == ["ERROR"]


def test_a_person_who_is_not_listed_is_told_apart(connect: Connect) -> None:
    token = tokens.access_token_for(connect("outsider", due=False))

    with pytest.raises(web_api.NotAllowed):
        web_api.get(token.value, "/me")


@pytest.mark.parametrize(
    "body",
    [
        "<html>oops</html>",
        "[1, 2]",  # JSON of another shape
        '"words"',
        "[" * 100_000,  # deeper than any parser goes
    ],
)
def test_an_answer_that_makes_no_sense_is_unavailable(
    connect: Connect, spotify: Sandbox, body: str
) -> None:
    token = tokens.access_token_for(connect(due=False))
    spotify.faults("web_api_error", status=200, message=body, plain=True)

    with pytest.raises(web_api.Unavailable):
        web_api.get(token.value, "/me")


def test_an_answer_that_comes_too_late_is_unavailable(
    connect: Connect, spotify: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens.access_token_for(connect(due=False))
    monkeypatch.setattr(transport, "CALL_SECONDS", 0.4)
    spotify.faults("web_api_latency", seconds=5)

    with pytest.raises(web_api.Unavailable):
        web_api.get(token.value, "/me")
