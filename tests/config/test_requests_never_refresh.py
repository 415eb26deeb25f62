"""No address of the site but the log-in callback ever opens a connection to the token endpoint.

Every address is asked for, with each method and in each state of the token, while the
Accounts service is a server that counts who connects.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve, reverse
from django.urls.resolvers import RoutePattern
from pytest_django import Settings

from accounts.models import User
from spotify_auth import connections, login
from spotify_auth.accounts_service.grant import Grant
from spotify_auth.models import SpotifyToken
from tests.support.listener import Listener
from tests.support.sandbox_client import SCOPES, Sandbox

pytestmark = pytest.mark.django_db

OUR_PAGE = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}

SAMPLES = {
    "object_id": "1",
    "content_type_id": "1",
    "app_label": "spotify_auth",
    "url": "nothing",
    "id": "1",
    "pk": "1",
    "code": "http_503",
}
"""A value for each part of an address that varies."""


def addresses(
    patterns: list[URLPattern | URLResolver], before: str = "/"
) -> Iterator[tuple[str, URLPattern]]:
    """One address for each pattern of the site."""
    for pattern in patterns:
        address = before + _written_out(pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, address)
        else:
            yield address, pattern


def _written_out(pattern: URLPattern | URLResolver) -> str:
    route = str(pattern.pattern)
    if isinstance(pattern.pattern, RoutePattern):
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda part: SAMPLES[part[1]], route)
    # The admin has two addresses written as regular expressions.
    if "app_label" in route:
        return f"{SAMPLES['app_label']}/"
    assert route == "(?P<url>.*)$"
    return SAMPLES["url"]


def fresh(user: User) -> None:
    connections.connect(
        user_id=user.pk,
        grant=Grant(
            access_token="a", refresh_token="r", expires_in=3600, scope=f"{SCOPES} streaming"
        ),
        issued_at=connections.database_now(),
    )


def stale(user: User) -> None:
    fresh(user)
    SpotifyToken.objects.update(expires_at=Now(), due_at=Now())


def reconnect_required(user: User) -> None:
    fresh(user)
    SpotifyToken.objects.update(status="reconnect_required", last_error="invalid_grant")


def paused(user: User) -> None:
    stale(user)
    SpotifyToken.objects.update(status="paused")


def none_at_all(user: User) -> None:
    SpotifyToken.objects.all().delete()


@pytest.fixture
def token_endpoint(spotify: Sandbox, settings: Settings) -> Iterator[Listener]:
    """The Web API is the sandbox; the Accounts service only counts."""
    with Listener() as listener:
        settings.SPOTIFY_ACCOUNTS_URL = listener.url
        yield listener


@pytest.fixture
def walker(client: Client) -> Client:
    """A browser that goes everywhere and minds no error page."""
    client.raise_request_exception = False
    return client


def root() -> User:
    user, _ = User.objects.get_or_create(
        pk=int(SAMPLES["object_id"]),
        defaults={"username": "root", "is_superuser": True, "is_staff": True},
    )
    return user


def test_the_walk_visits_every_pattern() -> None:
    found = list(addresses(get_resolver().url_patterns))

    assert all(resolve(address).func for address, _ in found)
    visited = {resolve(address).view_name for address, _ in found}
    named = {pattern.name for _, pattern in found if pattern.name}
    assert named <= {name.rpartition(":")[2] for name in visited}
    assert {"dashboard", "connection", "dashboard_data", "browser_token", "callback"} <= named
    assert len(found) > 40  # the admin's too


@pytest.mark.parametrize("state", [fresh, stale, reconnect_required, paused, none_at_all])
def test_no_address_reaches_the_token_endpoint(
    walker: Client, token_endpoint: Listener, state: Callable[[User], None]
) -> None:
    reached = set()
    for address, _ in addresses(get_resolver().url_patterns):
        for ask in (walker.get, walker.post):
            user = root()  # whatever the last request did to it
            SpotifyToken.objects.all().delete()
            state(user)
            walker.force_login(user)
            before = token_endpoint.connections

            ask(address, headers=OUR_PAGE)
            ask(address, headers={**OUR_PAGE, "hx-request": "true"})

            if token_endpoint.connections != before:
                reached.add(address)

    assert reached == set()


@pytest.mark.parametrize("action", ["refresh_now", "revoke"])
@pytest.mark.parametrize("state", [fresh, stale, reconnect_required])
def test_no_action_of_the_admin_reaches_the_token_endpoint(
    walker: Client, token_endpoint: Listener, action: str, state: Callable[[User], None]
) -> None:
    user = root()
    state(user)
    walker.force_login(user)

    answer = walker.post(
        reverse("admin:spotify_auth_spotifytoken_changelist"),
        {"action": action, "_selected_action": [str(user.pk)], "confirmed": "yes"},
    )

    assert answer.status_code == 302
    assert token_endpoint.connections == 0


def test_the_callback_does_reach_it(walker: Client, token_endpoint: Listener) -> None:
    # And so the listener would have seen the others.
    begun = login.begin(door=login.Door.LOGIN, next_url="", user_id=None, cookie="")
    walker.cookies[login.cookie_name()] = begun.cookie

    state = parse_qs(urlsplit(begun.url).query)["state"]
    walker.get(reverse("accounts:callback"), {"state": state, "code": "any"})

    assert token_endpoint.connections == 1
