"""A login's attempt: what is kept of it, for whom it is good, and that it is good once."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models.functions import Now
from pytest_django import Settings

from spotify_auth import login, login_attempts, login_rows
from spotify_auth.encryption import cipher
from spotify_auth.login import Begun, Door
from spotify_auth.login_failures import LoginFailed, Reason
from spotify_auth.models import LoginAttempt, UsedLogin, UserId
from tests.support.login import begin_in_the_previous_version
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Elsewhere

pytestmark = pytest.mark.django_db

ADA, BOB = UUID(int=1), UUID(int=2)
KEY, OTHER_KEY = secrets.token_bytes(32), secrets.token_bytes(32)


def begin(
    user_id: object = None, *, door: Door = Door.CONNECT, cookie: str = "", next_url: str = "/next/"
) -> Begun:
    who: UserId | None = user_id  # type: ignore[assignment]
    return login.begin(door=door, next_url=next_url, user_id=who, cookie=cookie)


def parameters_of(begun: Begun) -> dict[str, str]:
    """What Spotify is called with."""
    return {name: value for name, (value,) in parse_qs(urlsplit(begun.url).query).items()}


def complete(
    begun: Begun, *, user_id: object = None, doors: object = tuple(Door), **sent: str
) -> login.Completed:
    whole = {
        "state": parameters_of(begun)["state"],
        "cookie": begun.cookie,
        "previous_cookie": "",
        "code": "c",
        "error": "",
        **sent,
    }
    return login.complete(**whole, user_id=user_id, doors=doors)  # type: ignore[arg-type]


def reason_of(begun: Begun, **how: object) -> str:
    with pytest.raises(LoginFailed) as raised:
        complete(begun, **how)  # type: ignore[arg-type]
    return raised.value.reason


def aged(begun: Begun, seconds: float) -> str:
    """The cookie as it would be if the attempt had begun so much earlier."""
    attempts = login_attempts.read(begun.cookie)
    return login_attempts.seal([replace(a, begun_at=a.begun_at - seconds) for a in attempts])


def test_a_completed_login_says_whose_the_grant_is(spotify: Sandbox) -> None:
    begun = begin(7)
    back = parse_qs(urlsplit(spotify.authorize(parameters_of(begun), "listener")).query)

    completed = complete(begun, user_id=7, code=back["code"][0])

    assert (completed.door, completed.next_url) == ("connect", "/next/")
    assert completed.account_id == spotify.stats("listener")["account_id"]
    assert completed.display_name == "Maya Lindqvist"
    assert completed.grant.refresh_token
    assert completed.grant.refresh_token not in repr(completed)


def test_the_cookie_shows_nothing_of_an_attempt(settings: Settings) -> None:
    begun = begin(ADA)
    (attempt,) = login_attempts.read(begun.cookie)

    seen = base64.urlsafe_b64decode(begun.cookie + "==")
    for hidden in (attempt.code_verifier, attempt.state_digest, "/next/", str(ADA)):
        assert hidden.encode() not in seen
    assert parameters_of(begun)["state"] not in repr(begun) + repr(attempt)
    assert attempt.code_verifier not in repr(attempt)


@pytest.mark.parametrize(
    ("begun_by", "back_as", "reason"),
    [
        (ADA, BOB, Reason.ANOTHER_USER),
        (1, 11, Reason.ANOTHER_USER),
        (ADA, None, Reason.LOGGED_OUT_MEANWHILE),
        (None, BOB, Reason.LOGGED_IN_MEANWHILE),
        # it goes on, and fails where this test has no code
        (ADA, ADA, Reason.SPOTIFY_ERROR),
        (1, 1, Reason.SPOTIFY_ERROR),
        (None, None, Reason.SPOTIFY_ERROR),
    ],
)
@pytest.mark.parametrize("door", Door)
def test_an_attempt_is_for_whoever_began_it(
    door: Door, begun_by: object, back_as: object, reason: Reason
) -> None:
    assert reason_of(begin(begun_by, door=door), user_id=back_as, code="") is reason


@pytest.mark.parametrize("door", Door)
def test_an_attempt_is_for_what_it_was_begun_for(door: Door) -> None:
    others = set(Door) - {door}

    assert reason_of(begin(door=door), doors=others, code="") is Reason.UNKNOWN_STATE
    assert reason_of(begin(door=door), doors={door}, code="") is Reason.SPOTIFY_ERROR


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"state": "another"}, Reason.UNKNOWN_STATE),
        ({"state": ""}, Reason.UNKNOWN_STATE),
        ({"cookie": "another"}, Reason.UNKNOWN_STATE),
        ({"cookie": "ä!"}, Reason.UNKNOWN_STATE),
        ({"cookie": ""}, Reason.UNKNOWN_STATE),
        ({"error": "access_denied"}, Reason.ACCESS_DENIED),
        ({"error": "server_error"}, Reason.SPOTIFY_ERROR),
        ({"code": ""}, Reason.SPOTIFY_ERROR),
    ],
)
def test_each_refusal_has_its_reason(sent: dict[str, str], reason: Reason) -> None:
    assert reason_of(begin(), **sent) is reason
    assert not UsedLogin.objects.exists()  # a stranger leaves nothing


def change_a_byte(begun: Begun, settings: Settings) -> str:
    sealed = bytearray(base64.urlsafe_b64decode(begun.cookie + "=="))
    sealed[len(sealed) // 2] ^= 1
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def seal_for_another_place(begun: Begun, settings: Settings) -> str:
    """As a token's column holds it: what is decrypted there is no cookie."""
    attempts = cipher().decrypt(
        base64.urlsafe_b64decode(begun.cookie + "=="), place=login_attempts._PLACE
    )
    elsewhere = cipher().encrypt(attempts, place="spotify_auth_spotifytoken.access_token.1")
    return base64.urlsafe_b64encode(elsewhere).decode().rstrip("=")


def forget_the_key(begun: Begun, settings: Settings) -> str:
    settings.TOKEN_ENCRYPTION_KEYS = [OTHER_KEY]
    return begun.cookie


def cut_short(begun: Begun, settings: Settings) -> str:
    return begun.cookie[:-8]


@pytest.mark.parametrize(
    "tamper", [change_a_byte, seal_for_another_place, forget_the_key, cut_short]
)
def test_a_cookie_that_was_not_sealed_for_this_is_none(
    settings: Settings, tamper: Callable[[Begun, Settings], str]
) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = [KEY]
    begun = begin()
    assert reason_of(begun, code="") is Reason.SPOTIFY_ERROR

    cookie = tamper(begun, settings)

    assert login_attempts.read(cookie) == []
    assert reason_of(begun, cookie=cookie) is Reason.UNKNOWN_STATE
    assert begin(cookie=cookie).cookie  # and it stands in nobody's way


def test_a_new_first_key_ends_no_login(settings: Settings) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = [KEY]
    begun = begin()
    settings.TOKEN_ENCRYPTION_KEYS = [OTHER_KEY, KEY]

    assert reason_of(begun, code="") is Reason.SPOTIFY_ERROR


@pytest.mark.parametrize(
    ("door", "age", "reason"),
    [
        (Door.LOGIN, 599, Reason.NO_ANSWER),
        (Door.LOGIN, 601, Reason.UNKNOWN_STATE),
        # the password counts for five minutes
        (Door.LINK, 299, Reason.NO_ANSWER),
        (Door.LINK, 301, Reason.UNKNOWN_STATE),
        # PostgreSQL's clock was set back: by a little, by a lot
        (Door.LOGIN, -5, Reason.NO_ANSWER),
        (Door.LOGIN, -601, Reason.UNKNOWN_STATE),
    ],
)
def test_an_attempt_ends_by_postgresqls_clock(
    spotify: Sandbox, door: Door, age: float, reason: Reason
) -> None:
    spotify.faults("unavailable")  # the exchange is reached
    begun = begin(door=door)

    assert reason_of(begun, cookie=aged(begun, age)) is reason


def test_an_attempt_is_good_once(spotify: Sandbox) -> None:
    begun = begin()
    code = parse_qs(urlsplit(spotify.authorize(parameters_of(begun), "user-1")).query)["code"][0]
    complete(begun, code=code)

    # The very same cookie, as another browser could have kept it.
    assert reason_of(begun, code=code) is Reason.UNKNOWN_STATE
    assert UsedLogin.objects.count() == 1


def test_an_attempt_whose_exchange_failed_is_used_up(spotify: Sandbox) -> None:
    spotify.faults("unavailable")
    begun = begin()

    assert reason_of(begun) is Reason.NO_ANSWER
    assert reason_of(begun) is Reason.UNKNOWN_STATE


@pytest.mark.django_db(transaction=True)
def test_of_two_hosts_that_get_one_state_together_one_wins(elsewhere: Elsewhere) -> None:
    (attempt,) = login_attempts.read(begin().cookie)
    barrier = Barrier(2)

    def host() -> bool:
        with transaction.atomic():
            barrier.wait(10)
            return login_attempts.use(attempt, lifetime=login.LIFETIME) is not None

    for _ in range(20):
        UsedLogin.objects.all().delete()
        hosts = [elsewhere(host) for _ in range(2)]
        assert {each.result() for each in hosts} == {False, True}


@pytest.mark.parametrize(
    ("next_url", "kept"),
    [("/next/", 5), ("/" + "x" * 199, 5), ("/" + "🎵" * 199, 2)],  # four bytes each
)
def test_a_cookie_holds_the_newest_that_fit(next_url: str, kept: int) -> None:
    begun = [begin()]
    for _ in range(124):
        begun.append(begin(cookie=begun[-1].cookie, next_url=next_url))

    cookie = begun[-1].cookie
    assert len(cookie) < 4000
    assert len(login_attempts.read(cookie)) == kept
    assert reason_of(begun[-1], cookie=cookie, code="") is Reason.SPOTIFY_ERROR
    assert reason_of(begun[-kept], cookie=cookie, code="") is Reason.SPOTIFY_ERROR
    assert reason_of(begun[-kept - 1], cookie=cookie, code="") is Reason.UNKNOWN_STATE


def test_five_usual_ones_fit() -> None:
    begun = [begin(ADA, next_url="/" + "x" * 199)]
    for _ in range(4):
        begun.append(begin(ADA, cookie=begun[-1].cookie, next_url="/" + "x" * 199))

    for one in begun:
        assert reason_of(one, user_id=ADA, cookie=begun[-1].cookie, code="") is Reason.SPOTIFY_ERROR


@pytest.mark.parametrize(("length", "kept"), [(200, True), (201, False)])
def test_a_long_next_is_dropped(length: int, kept: bool) -> None:
    next_url = "/" + "x" * (length - 1)

    (attempt,) = login_attempts.read(begin(next_url=next_url).cookie)

    assert attempt.next_url == (next_url if kept else "")


def test_a_cookie_loses_the_attempt_that_came_back() -> None:
    first = begin()
    second = begin(cookie=first.cookie)

    rest = login.without(parameters_of(second)["state"], cookie=second.cookie)

    assert reason_of(first, cookie=rest, code="") is Reason.SPOTIFY_ERROR
    assert reason_of(second, cookie=rest) is Reason.UNKNOWN_STATE
    assert login.without(parameters_of(first)["state"], cookie=first.cookie) == ""
    assert login.without("unknown", cookie=first.cookie) == first.cookie
    assert login.without("unknown", cookie="rubbish") == ""


@pytest.mark.parametrize(
    ("door", "asks"),
    [(Door.LOGIN, False), (Door.CONNECT, False), (Door.SWITCH, True), (Door.LINK, True)],
)
def test_spotify_asks_for_the_account_where_it_matters(door: Door, asks: bool) -> None:
    assert parameters_of(begin(door=door))["show_dialog"] == str(asks).lower()


def test_used_states_are_forgotten_after_their_attempts_have_ended() -> None:
    for name, minutes in (("old", 21), ("older", 40), ("recent", 19)):
        UsedLogin.objects.create(state_digest=name, used_at=Now() - timedelta(minutes=minutes))

    assert login.forget_old(at_once=1) == 1
    assert login.forget_old(at_once=10) == 1

    assert [used.pk for used in UsedLogin.objects.all()] == ["recent"]


# During an upgrade: begun by the previous version, completed by this one.


@pytest.mark.parametrize(
    ("door", "for_user", "switch", "taken_as"),
    [
        (Door.LOGIN, "", False, Door.LOGIN),
        (Door.LOGIN, "", True, Door.SWITCH),
        (Door.CONNECT, "7", False, Door.CONNECT),
    ],
)
def test_a_login_of_the_previous_version_is_completed_once(
    spotify: Sandbox, door: Door, for_user: str, switch: bool, taken_as: Door
) -> None:
    old = begin_in_the_previous_version(door=door, for_user=for_user, switch=switch)
    code = parse_qs(urlsplit(spotify.authorize(old.parameters, "user-1")).query)["code"][0]

    def back() -> login.Completed:
        return login.complete(
            state=old.parameters["state"],
            cookie="",
            previous_cookie=old.cookie,
            code=code,
            error="",
            user_id=7,
            doors={taken_as},
        )

    completed = back()

    assert (completed.door, completed.next_url) == (taken_as, "/next/")
    assert not LoginAttempt.objects.exists()
    with pytest.raises(LoginFailed, match="unknown_state"):
        back()


def test_its_users_are_told_apart_too() -> None:
    old = begin_in_the_previous_version(door=Door.CONNECT, for_user="7", switch=False)

    with pytest.raises(LoginFailed, match="another_user"):
        login.complete(
            state=old.parameters["state"],
            cookie="",
            previous_cookie=old.cookie,
            code="c",
            error="",
            user_id=8,
            doors=set(Door),
        )


def test_its_old_rows_are_deleted() -> None:
    old = begin_in_the_previous_version(door=Door.LOGIN, for_user="", switch=False)
    begin_in_the_previous_version(door=Door.LOGIN, for_user="", switch=False)
    LoginAttempt.objects.filter(pk=login_attempts.digest(old.parameters["state"])).update(
        created_at=Now() - login_rows.LIFETIME - timedelta(seconds=1)
    )

    assert login.forget_old(at_once=10) == 1
    assert LoginAttempt.objects.count() == 1
