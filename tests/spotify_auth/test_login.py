"""A login's attempt: what is kept of it, for whom it is good, and that it is good once."""

from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.db.models.functions import Now

from spotify_auth import login
from spotify_auth.login import Begun, Door
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.models import LoginAttempt, UserId
from tests.support.sandbox_client import Sandbox

pytestmark = pytest.mark.django_db

ADA, BOB = UUID(int=1), UUID(int=2)


def begin(user_id: object = None) -> Begun:
    return login.begin(door=Door.CONNECT, next_url="/next/", user_id=user_id)  # type: ignore[arg-type]


def parameters_of(begun: Begun) -> dict[str, str]:
    """What Spotify is called with."""
    return {name: value for name, (value,) in parse_qs(urlsplit(begun.url).query).items()}


def complete(begun: Begun, *, user_id: object = None, **sent: str) -> login.Completed:
    state = parameters_of(begun)["state"]
    whole = {"state": state, "cookie": begun.cookie, "code": "c", "error": "", **sent}
    who: UserId | None = user_id  # type: ignore[assignment]
    return login.complete(**whole, user_id=who)


def reason_of(begun: Begun, *, user_id: object = None, **sent: str) -> str:
    with pytest.raises(LoginFailed) as raised:
        complete(begun, user_id=user_id, **sent)
    return raised.value.reason


def test_a_completed_login_says_whose_the_grant_is(spotify: Sandbox) -> None:
    begun = begin(7)
    back = parse_qs(urlsplit(spotify.authorize(parameters_of(begun), "listener")).query)

    completed = complete(begun, user_id=7, code=back["code"][0])

    assert (completed.door, completed.next_url, completed.switch) == ("connect", "/next/", False)
    assert completed.account_id == spotify.stats("listener")["account_id"]
    assert completed.display_name == "Maya Lindqvist"
    assert completed.grant.refresh_token
    assert completed.grant.refresh_token not in repr(completed)


def test_nothing_that_is_stored_lets_a_reader_complete_it() -> None:
    begun = begin()

    stored = LoginAttempt.objects.values_list()[0]

    for secret in (parameters_of(begun)["state"], begun.cookie):
        assert secret not in str(stored)
        assert secret not in repr(begun)


@pytest.mark.parametrize(
    ("begun_by", "back_as", "reason"),
    [
        (ADA, BOB, Reason.ANOTHER_USER),
        (ADA, None, Reason.ANOTHER_USER),  # logged out meanwhile
        (1, 11, Reason.ANOTHER_USER),
        # it goes on, and fails where this test has no code
        (ADA, ADA, Reason.SPOTIFY_ERROR),
        (1, 1, Reason.SPOTIFY_ERROR),
        (None, BOB, Reason.SPOTIFY_ERROR),  # a login is for whoever has the browser
    ],
)
def test_an_attempt_is_for_the_user_who_began_it(
    begun_by: object, back_as: object, reason: Reason
) -> None:
    assert reason_of(begin(begun_by), user_id=back_as, code="") is reason


def test_an_attempt_that_was_refused_is_used_up() -> None:
    begun = begin(ADA)

    assert reason_of(begun, user_id=BOB) == Reason.ANOTHER_USER
    assert reason_of(begun, user_id=ADA) == Reason.UNKNOWN_STATE


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"state": "another"}, Reason.UNKNOWN_STATE),
        ({"cookie": "another"}, Reason.UNKNOWN_STATE),
        ({"cookie": ""}, Reason.UNKNOWN_STATE),
        ({"error": "access_denied"}, Reason.ACCESS_DENIED),
        ({"error": "server_error"}, Reason.SPOTIFY_ERROR),
        ({"code": ""}, Reason.SPOTIFY_ERROR),
    ],
)
def test_each_refusal_has_its_reason(sent: dict[str, str], reason: Reason) -> None:
    assert reason_of(begin(), **sent) is reason


def test_old_attempts_are_deleted_and_younger_ones_stay() -> None:
    old, young = begin(), begin()
    state_digest = login._digest(parameters_of(old)["state"])
    LoginAttempt.objects.filter(pk=state_digest).update(created_at=Now() - login.LIFETIME)

    login.delete_expired()

    assert reason_of(old) is Reason.UNKNOWN_STATE
    assert reason_of(young, code="") is Reason.SPOTIFY_ERROR
