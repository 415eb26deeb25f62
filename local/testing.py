"""Servers and settings for tests: made for one run, removed after it."""

import base64
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local.postgres import Postgres
from local.process import free_port
from local.redis import Redis

_LEFT_AT_THEIR_DEFAULTS = (
    "ACCESS_TOKEN_LIFETIME_SECONDS",
    "ACCESS_TOKEN_MINIMUM_SECONDS",
    "DEBUG",
    "LOG_LEVEL",
    "OUTAGE_GUARD_REFUSALS",
    "OUTAGE_GUARD_SHARE",
    "OUTAGE_GUARD_WINDOW_SECONDS",
    "OUTBOUND_PROXY_URL",
    "REFRESH_LANES",
    "REFRESH_SWEEP_SECONDS",
    "TOKEN_ENDPOINT_DEADLINE_SECONDS",
    "TOKEN_EVENT_RETENTION_DAYS",
    "TRUST_X_FORWARDED_PROTO",
)


@contextmanager
def temporary_services() -> Iterator[dict[str, str]]:
    """A PostgreSQL and a Redis on free ports, and the whole environment that names them.

    Nothing of the caller's settings gets through: neither .env nor variables.
    """
    with ExitStack() as stack:
        # Each in a directory that all users can reach, so that root's PostgreSQL can.
        home = Path(tempfile.mkdtemp(prefix="spotify-token-keeper-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o755)
        postgres = Postgres(
            home / "postgres",
            port=free_port(),
            password=secrets.token_urlsafe(16),
            options=["max_connections=300", "fsync=off", "deadlock_timeout=100ms"],
        )
        stack.callback(postgres.stop)
        postgres.start()
        postgres.create_database("keeper")
        redis = Redis(
            home / "redis",
            port=free_port(),
            password=secrets.token_urlsafe(16),
            options=['save ""'],
        )
        stack.callback(redis.stop)
        redis.start()
        yield settings_for_tests(database_url=postgres.url("keeper"), redis_url=redis.url)


def settings_for_tests(*, database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of a test run: this process's, less every setting of the service."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPOTIFY_", "SANDBOX_", "DJANGO_"))
    }
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENV_FILE": os.devnull,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TOKEN_ENCRYPTION_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SPOTIFY_CLIENT_ID": "sandbox-client",
        "SPOTIFY_CLIENT_SECRET": "sandbox-secret",
        "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8000/spotify/callback/",
        "ALLOWED_HOSTS": "127.0.0.1,testserver",
        **dict.fromkeys(_LEFT_AT_THEIR_DEFAULTS, ""),
    }
