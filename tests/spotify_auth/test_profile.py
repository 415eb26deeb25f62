"""Whose an access token is, and why Spotify may not say it."""

import json

import pytest
from pytest_django import Settings

from spotify_auth import web_api
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.login_problems import WORDS
from spotify_auth.profile import account_of
from spotify_auth.web_api import pause
from tests.support.sandbox_client import Sandbox

PREMIUM = (
    "Active premium subscription required for the owner of the app. When the subscription status "
    "changes, it can take a few hours before requests are allowed again."
)
QUOTA = json.dumps(
    {"error": {"status": 429, "message": "Too many requests", "reason": "QUOTA_EXCEEDED"}}
)


@pytest.fixture
def access_token(spotify: Sandbox) -> str:
    token: str = spotify.connect(["user-1"])["user-1"]["access_token"]
    return token


def failure(access_token: str) -> LoginFailed:
    with pytest.raises(LoginFailed) as raised:
        account_of(access_token)
    return raised.value


def test_the_account_and_its_name(spotify: Sandbox, access_token: str) -> None:
    account = account_of(access_token)

    assert account.account_id == spotify.stats("user-1")["account_id"]
    assert account.display_name


def test_a_pause_of_the_pages_is_none_of_a_login(access_token: str) -> None:
    pause.start("/v1/me", 48_925, quota=True)
    with pytest.raises(web_api.RateLimited):
        web_api.get(access_token, "/me")

    assert account_of(access_token).account_id


@pytest.mark.parametrize(
    ("status", "message", "plain", "reason"),
    [
        (403, PREMIUM, False, Reason.OWNER_WITHOUT_PREMIUM),
        (403, PREMIUM, True, Reason.OWNER_WITHOUT_PREMIUM),  # the bare words
        (403, "User not registered in the Developer Dashboard", False, Reason.NOT_ALLOWED),
        (403, "Forbidden", False, Reason.PROFILE_REFUSED),
        (403, "", True, Reason.PROFILE_REFUSED),
        (404, "Not found", False, Reason.PROFILE_REFUSED),
        (429, "Too many requests", False, Reason.RATE_LIMITED),
        (429, QUOTA, True, Reason.QUOTA_SPENT),
        (503, "x", False, Reason.NO_ANSWER),
        (200, "<html>", True, Reason.NO_ANSWER),
        (200, '{"error": 1}', True, Reason.NO_ACCOUNT_ID),
        (200, '{"account_id": ""}', True, Reason.NO_ACCOUNT_ID),
        (200, '{"account_id": "a\\u0000"}', True, Reason.NO_ACCOUNT_ID),  # not storable
        (403, '{"error": {"message": ["odd"], "reason": 3}}', True, Reason.PROFILE_REFUSED),
    ],
)
def test_each_refusal_has_its_reason(
    spotify: Sandbox, access_token: str, status: int, message: str, plain: bool, reason: Reason
) -> None:
    spotify.faults("web_api_error", status=status, message=message, plain=plain)

    failed = failure(access_token)

    assert failed.reason is reason
    assert ("in a moment" in WORDS[reason].text) is (reason is Reason.NO_ANSWER)


def test_nobody_answers(access_token: str, settings: Settings) -> None:
    settings.SPOTIFY_API_URL = "http://127.0.0.1:1"

    assert failure(access_token).reason is Reason.NO_ANSWER


@pytest.mark.parametrize(
    ("header", "seconds", "words"),
    [
        ("30", 30, "about 1 minute."),
        ("600", 600, "about 10 minutes."),
        ("48925", 48_925, "about 14 hours."),
        ("9999999999", 86_400, "about 24 hours."),
    ],
)
def test_the_page_says_for_how_long(
    spotify: Sandbox, access_token: str, header: str, seconds: float, words: str
) -> None:
    spotify.faults("web_api_error", status=429, message="x", retry_after=header)

    failed = failure(access_token)

    assert failed.retry_after == seconds
    assert WORDS[failed.reason].with_wait(failed.retry_after).text.endswith(words)


def test_a_wait_that_is_not_known_is_not_told() -> None:
    assert WORDS[Reason.RATE_LIMITED].with_wait(None) is WORDS[Reason.RATE_LIMITED]


def test_spotifys_words_are_in_the_log_and_the_token_is_not(
    spotify: Sandbox, access_token: str, caplog: pytest.LogCaptureFixture
) -> None:
    spotify.faults(
        "web_api_error", status=403, message=f"{PREMIUM[:40]} owner {access_token}", plain=True
    )

    failure(access_token)

    (record,) = [r for r in caplog.records if "login_profile_refused" in r.getMessage()]
    assert record.levelname == "ERROR"
    assert PREMIUM[:40] in record.getMessage()
    assert access_token not in caplog.text
