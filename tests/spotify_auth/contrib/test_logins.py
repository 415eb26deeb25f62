"""Logins by other libraries, where they are not Spotify's or not to be taken over.

tests/bridges has the logins that are, by the libraries themselves.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest
from django.test import RequestFactory

from accounts.models import User
from spotify_auth.contrib import allauth, social_auth
from spotify_auth.contrib.logins import take_over
from spotify_auth.models import SpotifyToken
from tests.support.tokens import Connect, token_of

pytestmark = pytest.mark.django_db

RESPONSE = {"access_token": "a", "refresh_token": "r", "expires_in": 3600, "scope": "streaming"}


@pytest.fixture
def request_of_theirs(rf: RequestFactory) -> HttpRequest:
    request = rf.get("/")
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    return request


def backend(request: HttpRequest, name: str = "spotify") -> Any:
    return SimpleNamespace(name=name, strategy=SimpleNamespace(request=request))


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

    taken = take_over(
        request_of_theirs,
        user,
        access_token="a",
        refresh_token="r",
        expires_at=None,
        scope="",
        account_id=account_id,
    )

    assert not taken
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


@pytest.mark.parametrize(
    ("name", "response"),
    [("github", RESPONSE), ("spotify", {**RESPONSE, "refresh_token": None})],
)
def test_what_social_auth_has_for_others_stays_there(
    request_of_theirs: HttpRequest, name: str, response: dict[str, Any]
) -> None:
    user = User.objects.create(account_id="a")
    social = SimpleNamespace(extra_data=dict(response), save=lambda **_: pytest.fail("saved"))

    kept = social_auth.keep_spotify_token(backend(request_of_theirs, name), user, response)
    social_auth.forget_spotify_token(social, **(kept or {}))

    assert social.extra_data == response
    assert not SpotifyToken.objects.exists()


def test_disconnecting_another_backend_erases_nothing(
    connect: Connect, request_of_theirs: HttpRequest
) -> None:
    user = connect()

    social_auth.disconnect_spotify(backend(request_of_theirs, "github"), user)

    assert token_of(user).status == "active"


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
