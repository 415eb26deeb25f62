"""What each answer of the token endpoint becomes. The answers come over a real socket."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pytest_django import Settings

from dev.process import free_port
from spotify_auth.accounts_service import answers, errors
from spotify_auth.accounts_service.answers import Answer
from spotify_auth.accounts_service.errors import grant_of
from spotify_auth.accounts_service.grant import Grant
from tests.support.exchanges import refresh
from tests.support.sandbox_client import Sandbox
from tests.support.worlds import in_rotating

WHOLE = (
    '{"access_token": "a", "token_type": "Bearer", "expires_in": 3600,'
    ' "refresh_token": "r", "scope": "streaming"}'
)


def answer(spotify: Sandbox, body: str, content_type: str = "application/json") -> Answer:
    """Refresh against a Spotify that answers 200 with this body."""
    spotify.connect(["user-1"])
    spotify.faults(fault="garbage", body=body, content_type=content_type)
    return refresh("any")


def test_a_whole_answer_is_a_grant(spotify: Sandbox) -> None:
    grant = grant_of(answer(spotify, WHOLE))

    assert grant == Grant(access_token="a", refresh_token="r", expires_in=3600, scope="streaming")
    assert "'a'" not in repr(grant)
    assert "'r'" not in repr(grant)


@pytest.mark.parametrize(
    ("body", "expires_in", "refresh_token"),
    [
        (WHOLE.replace("3600", "1"), 1, "r"),
        (WHOLE.replace("3600", "86400"), 86400, "r"),  # a day is the longest
        (WHOLE.replace('"r"', "null"), 3600, None),  # keep the old one
        (WHOLE.replace('"r"', '""'), 3600, None),  # an empty token is none
        (WHOLE.replace("3600", '"3600"'), 3600, "r"),  # digits in a string
        (WHOLE.replace("3600", "3599.9"), 3599, "r"),
        (WHOLE.replace('"streaming"', "null"), 3600, "r"),
        (WHOLE.replace('"streaming"', '"a\\u0000b"'), 3600, "r"),
    ],
)
def test_lenient_where_nothing_is_at_stake(
    spotify: Sandbox, body: str, expires_in: int, refresh_token: str | None
) -> None:
    grant = grant_of(answer(spotify, body))

    assert (grant.expires_in, grant.refresh_token) == (expires_in, refresh_token)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "answer_without_access_token"),
        ("<html>oops</html>", "answer_without_access_token"),
        ("[1, 2]", "answer_without_access_token"),  # JSON of another shape
        ("[" * 5000, "answer_without_access_token"),  # nested past Python's patience
        (WHOLE[:40], "answer_without_access_token"),  # cut short
        (WHOLE.replace('"a"', "17"), "answer_without_access_token"),
        (WHOLE.replace('"a"', '""'), "answer_without_access_token"),
        (WHOLE.replace('"r"', "[]"), "answer_malformed"),
        # what PostgreSQL or UTF-8 could not store would block the row for ever
        (WHOLE.replace('"a"', '"a\\u0000b"'), "answer_malformed"),
        (WHOLE.replace('"a"', '"\\ud800"'), "answer_malformed"),
        (WHOLE.replace('"r"', '"\\u00e9"'), "answer_malformed"),
        (WHOLE.replace("3600", "9" * 5000), "answer_without_access_token"),  # no number of Python's
        ("x" * 100_000, "answer_too_large"),
    ],
)
def test_an_answer_that_makes_no_sense_is_not_used(spotify: Sandbox, body: str, code: str) -> None:
    got = answer(spotify, body)

    assert isinstance(got, answers.Unreadable)

    assert got.code == code


@pytest.mark.parametrize(
    "body",
    [
        WHOLE.replace("3600", "null"),
        WHOLE.replace("3600", "true"),
        WHOLE.replace("3600", '"soon"'),
        WHOLE.replace("3600", "0"),
        WHOLE.replace("3600", "-5"),
        WHOLE.replace("3600", "9999999999"),
        WHOLE.replace("3600", "86401"),
        WHOLE.replace("3600", "0.5"),
        WHOLE.replace("3600", "NaN"),
        WHOLE.replace("3600", "1e400"),  # infinity
        WHOLE.replace("3600", '"0"'),
        WHOLE.replace("3600", f'"{"9" * 5000}"'),
        WHOLE.replace("3600", '"-5"'),
        WHOLE.replace("3600", "false"),
        WHOLE.replace("3600", "[3600]"),
        WHOLE.replace(' "expires_in": 3600,', ""),
    ],
)
def test_a_lifetime_that_makes_no_sense_costs_no_pair(
    spotify: Sandbox, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 6749, section 5.1, only recommends to send one; the old token may be dead by now."""
    grant = grant_of(answer(spotify, body))

    assert (grant.access_token, grant.refresh_token) == ("a", "r")
    assert grant.expires_in == 3600  # what the last one had
    assert "lifetime_assumed seconds=3600" in caplog.text


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", "?"])
def test_the_content_type_does_not_matter(spotify: Sandbox, content_type: str) -> None:
    assert grant_of(answer(spotify, WHOLE, content_type=content_type)).access_token == "a"


@in_rotating
def test_a_dead_refresh_token_is_refused(spotify: Sandbox) -> None:
    first = spotify.connect(["user-1"])["user-1"]["refresh_token"]
    refresh(first)

    assert isinstance(refresh(first), answers.Refused)


@pytest.mark.parametrize("name", ["SPOTIFY_CLIENT_SECRET", "SPOTIFY_CLIENT_ID"])
def test_wrong_credentials_condemn_the_client(
    spotify: Sandbox, settings: Settings, name: str
) -> None:
    setattr(settings, name, "wrong")

    assert isinstance(
        refresh(spotify.connect(["user-1"])["user-1"]["refresh_token"]), answers.ClientRefused
    )


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("86400", 86400.0),  # a day
        (None, None),
        ("-3", None),
        ("+3", None),
        ("1.5", None),
        ("", None),
        ("9" * 400, 9_999_999_999.0),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),  # long past
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),  # no date
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),  # no year
    ],
)
def test_retry_after_is_read_in_seconds(
    spotify: Sandbox, retry_after: str | None, seconds: float | None
) -> None:
    spotify.faults(fault="rate_limited", retry_after=retry_after)

    got = refresh(spotify.connect(["user-1"])["user-1"]["refresh_token"])

    assert isinstance(got, answers.RateLimited)

    assert got.retry_after == seconds


def test_retry_after_as_a_date_is_read_against_the_answers_own_date(spotify: Sandbox) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    spotify.faults(fault="rate_limited", retry_after=in_an_hour)

    got = refresh(spotify.connect(["user-1"])["user-1"]["refresh_token"])

    assert isinstance(got, answers.RateLimited)

    assert got.retry_after == pytest.approx(3600, abs=30)


def test_nobody_listening_means_nothing_was_sent(settings: Settings) -> None:
    settings.SPOTIFY_ACCOUNTS_URL = f"http://127.0.0.1:{free_port()}"

    got = refresh("any")

    assert isinstance(got, answers.Unavailable)

    assert got.code == "connection_refused"


@in_rotating  # nothing is rotated
@pytest.mark.parametrize("headers", [True, False])
def test_a_dripped_answer_ends_at_the_deadline(
    spotify: Sandbox, settings: Settings, headers: bool
) -> None:
    settings.TOKEN_ENDPOINT_DEADLINE_SECONDS = 1.0
    # A byte each 0.3 s: no single read ever takes long.
    spotify.faults(fault="slow_drip", interval=0.3, headers=headers, rotate=False)

    assert isinstance(
        refresh(spotify.connect(["user-1"])["user-1"]["refresh_token"]), answers.AnswerLost
    )


def test_a_failure_carries_nothing_of_the_request(spotify: Sandbox) -> None:
    spotify.faults(fault="connection_reset")

    got = refresh("the-refresh-token")

    assert got == answers.AnswerLost("connection_cut")
    assert "the-refresh-token" not in repr(got)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (answers.Refused(), errors.GrantRefused),
        (answers.ClientRefused("invalid_client"), errors.ClientRefused),
        (answers.RateLimited(7.0), errors.AccountsServiceError),
        (answers.Unavailable("http_503"), errors.AccountsServiceError),
        (answers.Unreadable("answer_malformed"), errors.AccountsServiceError),
        (answers.AnswerLost("timeout"), errors.AccountsServiceError),
    ],
)
def test_for_a_login_each_failure_is_an_exception(
    answer: answers.Failure, error: type[errors.AccountsServiceError]
) -> None:
    with pytest.raises(errors.AccountsServiceError) as caught:
        grant_of(answer)

    assert type(caught.value) is error
    assert (caught.value.answer, caught.value.code) == (answer, answer.code)
