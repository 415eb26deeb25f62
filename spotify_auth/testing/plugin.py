"""Fixtures for projects that use this app. docs/how-to/test-your-project.md explains each.

pytest loads this module wherever the package is installed, and before Django has its settings: so
it imports nothing of Django's, and nothing of ours, until a test asks for a fixture.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from pytest_django import Settings

    from spotify_auth.testing.sandbox import Sandbox

REDIS = "spotify_redis_url"
REDIS_VARIABLE = "SPOTIFY_TEST_REDIS_URL"
REDIRECT_URIS = "spotify_redirect_uris"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of pytest's configuration file."""
    parser.addini(
        REDIS,
        "A Redis for tests with Spotify tokens, such as redis://127.0.0.1:6379/9; "
        f"{REDIS_VARIABLE} overrides it. Keys spotify_auth:* in it are deleted.",
    )
    parser.addini(
        REDIRECT_URIS,
        "Callbacks that the sandbox knows besides SPOTIFY_REDIRECT_URI, one a line.",
        type="linelist",
    )


@pytest.fixture(scope="session")
def spotify_sandbox_server(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """The process behind `spotify_sandbox`: one for the whole run."""
    from django.conf import settings

    from spotify_auth.testing.sandbox import Sandbox

    uris = [getattr(settings, "SPOTIFY_REDIRECT_URI", None), *request.config.getini(REDIRECT_URIS)]
    options = [f"--redirect-uri={uri}" for uri in uris if uri]
    with Sandbox(access_token_lifetime=3600, options=options) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def spotify_test_redis_url(request: pytest.FixtureRequest) -> str:
    """The address of the Redis for tests; with pytest-xdist a database for each process."""
    import redis

    url = os.environ.get(REDIS_VARIABLE) or request.config.getini(REDIS)
    if not url:
        pytest.fail(
            "Tests with Spotify tokens need a Redis, whose keys spotify_auth:* they delete: never "
            f"that of a service. Write `{REDIS} = redis://127.0.0.1:6379/9` into pytest's "
            f"configuration, or set the variable {REDIS_VARIABLE}.",
            pytrace=False,
        )
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw"):
        parts = urlsplit(url)
        number = int(parts.path.strip("/") or 0) + int(worker.removeprefix("gw"))
        url = parts._replace(path=f"/{number}").geturl()
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        place = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        pytest.fail(
            f"The Redis for tests with Spotify tokens, {place}, cannot be used: {error}. Start it, "
            f"or change {REDIS} or {REDIS_VARIABLE}.",
            pytrace=False,
        )
    return str(url)


@pytest.fixture
def spotify_sandbox(
    spotify_test_redis_url: str, spotify_sandbox_server: Sandbox, settings: Settings
) -> Iterator[Sandbox]:
    """A Spotify that has just been started: no user, no fault, and the settings point at it."""
    from spotify_auth.testing import state

    spotify_sandbox_server.reset()
    settings.SPOTIFY_ACCOUNTS_URL = settings.SPOTIFY_API_URL = spotify_sandbox_server.url
    settings.SPOTIFY_CLIENT_ID = spotify_sandbox_server.client_id
    settings.SPOTIFY_CLIENT_SECRET = spotify_sandbox_server.client_secret
    settings.OUTBOUND_PROXY_URL = ""  # the sandbox is on this machine
    settings.REDIS_URL = spotify_test_redis_url
    if not getattr(settings, "TOKEN_ENCRYPTION_KEYS", None):
        settings.TOKEN_ENCRYPTION_KEYS = [secrets.token_bytes(32)]
    state.forget(spotify_test_redis_url)
    yield spotify_sandbox_server
    state.forget(spotify_test_redis_url)


@pytest.fixture
def connect_spotify(db: None, spotify_sandbox: Sandbox) -> Callable[..., str]:
    """`connect_spotify(user)`: connect a user, as by a login at Spotify.

    `account` is the sandbox's user: `user-1`, `user-2` and so on in turns, unless it is named;
    it is returned, for `spotify_sandbox.revoke(…)` and the like. `scope` is what was granted, the
    names with spaces between them; without it all of SPOTIFY_SCOPES.
    """
    from spotify_auth import connections
    from spotify_auth.accounts_service.grant import Grant
    from spotify_auth.conf import settings
    from spotify_auth.tokens import UserOrId, primary_key_of

    connected = 0

    def connect(user: UserOrId, account: str | None = None, *, scope: str | None = None) -> str:
        nonlocal connected
        connected += 1
        account = account or f"user-{connected}"
        scope = " ".join(settings.SPOTIFY_SCOPES) if scope is None else scope
        answer = spotify_sandbox.connect([account], scope=scope)[account]
        connections.connect(
            user_id=primary_key_of(user),
            account_id=answer["account_id"],
            grant=Grant(
                access_token=answer["access_token"],
                refresh_token=answer["refresh_token"],
                expires_in=answer["expires_in"],
                scope=answer["scope"],
            ),
            issued_at=connections.database_now(),
        )
        return account

    return connect


@pytest.fixture
def spotify_make_user(db: None) -> Callable[[str], AbstractBaseUser]:
    """Make a user by a name. Override it where your user model needs more than a name."""
    from django.contrib.auth import get_user_model
    from django.db.models import EmailField

    model: Any = get_user_model()

    def make(name: str) -> AbstractBaseUser:
        is_email = isinstance(model._meta.get_field(model.USERNAME_FIELD), EmailField)
        made: AbstractBaseUser = model._default_manager.create_user(
            **{model.USERNAME_FIELD: f"{name}@example.com" if is_email else name}
        )
        return made

    return make


@pytest.fixture
def spotify_user(
    spotify_make_user: Callable[[str], AbstractBaseUser], connect_spotify: Callable[..., str]
) -> AbstractBaseUser:
    """A user with a fresh token."""
    user = spotify_make_user("listener")
    connect_spotify(user)
    return user


@pytest.fixture
def hours_pass(db: None, spotify_sandbox: Sandbox) -> Callable[..., None]:
    """`hours_pass(1)`: let all tokens be an hour older, and so stale and due."""
    from spotify_auth.testing import refreshing

    return refreshing.hours_pass


@pytest.fixture
def refresh_due_tokens(db: None, spotify_sandbox: Sandbox) -> Callable[[], list[str]]:
    """`refresh_due_tokens()`: do what a worker does, here and now; the outcome of each token."""
    from spotify_auth.testing import refreshing

    return refreshing.refresh_due_tokens
