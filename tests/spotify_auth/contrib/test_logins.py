"""Logins by other libraries, where they are not Spotify's or not to be taken over.

tests/bridges has the logins that are, by the libraries themselves.
"""

import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest
from django.test import RequestFactory

from accounts.models import User
from spotify_auth import connections
from spotify_auth.contrib import allauth, social_auth
from spotify_auth.contrib.logins import take_over
from spotify_auth.contrib.spotipy import KeeperCacheHandler
from spotify_auth.models import SpotifyToken
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

RESPONSE = {"access_token": "a", "refresh_token": "r", "expires_in": 3600, "scope": "streaming"}


@pytest.fixture
def request_of_theirs(rf: RequestFactory) -> HttpRequest:
    request = rf.get("/")
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    return request


def backend(request: HttpRequest, name: str = "spotify", client_id: str = Sandbox.client_id) -> Any:
    return SimpleNamespace(
        name=name,
        strategy=SimpleNamespace(request=request),
        get_key_and_secret=lambda: (client_id, "secret"),
    )


def log_in(
    request: HttpRequest, user: User, *, account_id: str | None, client_id: str = Sandbox.client_id
) -> bool:
    return take_over(
        request,
        user,
        client_id=client_id,
        access_token="a",
        refresh_token="r",
        expires_at=None,
        scope="",
        account_id=account_id,
    )


@pytest.mark.parametrize(
    ("whose", "words"),
    [
        ("user-2", "You have connected another Spotify account"),
        ("user-1", "Another user of this site has connected this Spotify account"),
    ],
)
def test_a_conflict_of_accounts_is_told_and_ends_no_login(
    connect: Connect, request_of_theirs: HttpRequest, whose: str, words: str
) -> None:
    first = connect("user-1")
    account_id = "another" if whose == "user-2" else first.account_id
    user = first if whose == "user-2" else User.objects.create(account_id="b")

    assert log_in(request_of_theirs, user, account_id=account_id)  # nobody keeps it
    assert log_in(HttpRequest(), user, account_id=account_id)  # nor without Django's messages

    assert next(str(message) for message in get_messages(request_of_theirs)).startswith(words)
    assert SpotifyToken.objects.count() == 1
    assert token_of(first).access_token != "a"


def test_steps_of_social_auth_take_over_and_forget(request_of_theirs: HttpRequest) -> None:
    user = User.objects.create(account_id="a")
    saved: list[Any] = []
    social = SimpleNamespace(
        extra_data={**RESPONSE, "id": "x"}, save=lambda update_fields: saved.append(update_fields)
    )

    kept = social_auth.keep_spotify_token(backend(request_of_theirs), user, dict(RESPONSE))
    social_auth.forget_spotify_token(social, **(kept or {}))

    token = token_of(user)
    assert (token.refresh_token, token.scope) == ("r", "streaming")
    assert social.extra_data == {"id": "x", "expires_in": 3600, "scope": "streaming"}
    assert saved == [["extra_data"]]


def test_the_tokens_of_a_second_account_are_kept_nowhere(
    connect: Connect, request_of_theirs: HttpRequest
) -> None:
    user = connect()
    before = token_of(user).refresh_token
    response = {**RESPONSE, "account_id": "another"}
    social = SimpleNamespace(extra_data=dict(response), save=lambda update_fields: None)

    kept = social_auth.keep_spotify_token(backend(request_of_theirs), user, response)
    social_auth.forget_spotify_token(social, **(kept or {}))

    assert token_of(user).refresh_token == before
    assert not {"access_token", "refresh_token"} & set(social.extra_data)


def test_a_user_who_is_not_active_leaves_no_tokens(request_of_theirs: HttpRequest) -> None:
    user = User.objects.create(account_id="a", is_active=False)

    assert log_in(request_of_theirs, user, account_id="a")

    assert not SpotifyToken.objects.exists()


@pytest.mark.parametrize(
    ("name", "client_id", "response"),
    [
        ("github", Sandbox.client_id, RESPONSE),
        ("spotify", Sandbox.client_id, {**RESPONSE, "refresh_token": None}),
        ("spotify", "another-application", RESPONSE),
    ],
)
def test_what_social_auth_has_for_others_stays_there(
    request_of_theirs: HttpRequest,
    caplog: pytest.LogCaptureFixture,
    name: str,
    client_id: str,
    response: dict[str, Any],
) -> None:
    user = User.objects.create(account_id="a")
    social = SimpleNamespace(extra_data=dict(response), save=lambda **_: pytest.fail("saved"))
    theirs = backend(request_of_theirs, name, client_id)

    kept = social_auth.keep_spotify_token(theirs, user, response)
    social_auth.forget_spotify_token(social, **(kept or {}))

    assert social.extra_data == response
    assert not SpotifyToken.objects.exists()
    assert ("another_application" in caplog.text) == (client_id != Sandbox.client_id)


def by_allauth(request: HttpRequest, user: User, info: dict[str, Any]) -> None:
    further: dict[str, Any] = {
        "client_id": Sandbox.client_id,
        "expires_at": None,
        "account_id": None,
    }
    names = ("access_token", "refresh_token", "scope")
    take_over(request, user, **further, **{name: info[name] for name in names})


def by_social_auth(request: HttpRequest, user: User, info: dict[str, Any]) -> None:
    social_auth.keep_spotify_token(backend(request), user, info)


def by_spotipy(request: HttpRequest, user: User, info: dict[str, Any]) -> None:
    KeeperCacheHandler(user).save_token_to_cache({**info, "expires_at": 1_700_000_000})


@pytest.mark.parametrize("login", [by_allauth, by_social_auth, by_spotipy])
def test_the_report_of_a_login_that_fails_has_no_token(
    request_of_theirs: HttpRequest, login: Callable[[HttpRequest, User, dict[str, Any]], None]
) -> None:
    user = User.objects.create(account_id="a")
    response = {**RESPONSE, "refresh_token": "AQ-secret", "access_token": "two\nlines"}

    with pytest.raises(ValueError, match="access_token is no token") as raised:
        login(request_of_theirs, user, response)

    frames = [frame for frame, _ in traceback.walk_tb(raised.tb)]
    below = [frame for frame in frames if frame.f_code.co_filename != __file__]
    assert len(below) > 2
    assert not any("AQ-secret" in repr(frame.f_locals) for frame in below)


@pytest.mark.parametrize(
    ("whose", "refusal"),
    [("user-2", connections.DifferentAccount), ("user-1", connections.AccountTaken)],
)
def test_spotipy_is_told_of_a_conflict_of_accounts(
    connect: Connect, whose: str, refusal: type[Exception]
) -> None:
    first = connect("user-1")
    account_id = "another" if whose == "user-2" else first.account_id
    user = first if whose == "user-2" else User.objects.create(account_id="b")
    info = {**RESPONSE, "expires_at": 1_700_000_000}

    with pytest.raises(refusal):
        KeeperCacheHandler(user, account_id=account_id).save_token_to_cache(info)

    assert SpotifyToken.objects.count() == 1
    assert token_of(first).access_token != "a"


def test_disconnecting_another_backend_erases_nothing(
    connect: Connect, request_of_theirs: HttpRequest
) -> None:
    user = connect()

    social_auth.disconnect_spotify(backend(request_of_theirs, "github"), user)

    assert token_of(user).status == "active"


@pytest.mark.parametrize(
    ("removed", "status"),
    [
        ({"account_id": "another"}, "active"),
        ({"account_id": "its own"}, "disconnected"),
        ({}, "disconnected"),
    ],
)
def test_of_two_accounts_the_one_that_is_kept_is_disconnected(
    connect: Connect, request_of_theirs: HttpRequest, removed: dict[str, str], status: str
) -> None:
    user = connect()
    if removed.get("account_id") == "its own":
        removed = {"account_id": user.account_id or ""}
    account = SimpleNamespace(
        get_provider=lambda: SimpleNamespace(id="spotify"), extra_data=removed, user_id=user.pk
    )

    social_auth.disconnect_spotify(
        backend(request_of_theirs), user, entries=[SimpleNamespace(extra_data=removed)]
    )
    assert token_of(user).status == status
    SpotifyToken.objects.all().delete()
    connect()
    allauth._removed(socialaccount=account)
    assert token_of(user).status == status


def test_an_account_that_one_user_has_removed_another_may_connect(
    connect: Connect, request_of_theirs: HttpRequest
) -> None:
    first, second = connect(), User.objects.create(username="second")
    account_id = first.account_id or ""

    social_auth.disconnect_spotify(backend(request_of_theirs), first)
    log_in(request_of_theirs, second, account_id=account_id)

    assert (token_of(second).status, token_of(second).account_id) == ("active", account_id)
    assert token_of(first).account_id is None


def test_what_allauth_does_with_other_providers_is_left_alone(
    connect: Connect, request_of_theirs: HttpRequest
) -> None:
    user = connect()
    generation = token_of(user).generation
    provider = SimpleNamespace(id="github")
    account = SimpleNamespace(get_provider=lambda: provider, extra_data={}, user_id=user.pk)
    token = SimpleNamespace(token="a", token_secret="theirs", expires_at=None)
    sociallogin = SimpleNamespace(
        account=account, token=token, user=user, state={"process": "connect"}
    )
    request_of_theirs.user = User.objects.create(account_id="b")

    allauth._logged_in(request=request_of_theirs, user=user, sociallogin=sociallogin)
    allauth._connected(request=request_of_theirs, sociallogin=sociallogin)
    allauth._connected_again(request=request_of_theirs, sociallogin=sociallogin)
    allauth._removed(socialaccount=account)

    assert token.token_secret == "theirs"
    assert (token_of(user).status, token_of(user).generation) == ("active", generation)
