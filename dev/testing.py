"""Servers and settings for tests: made for one run, removed after it."""

import base64
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dev.postgres import Postgres, can_enter
from dev.process import ROOT, free_port
from dev.redis import Redis

DATABASE = "keeper"
"""The name of the database on a temporary PostgreSQL."""


@contextmanager
def temporary_services(*, durable: bool = False) -> Iterator[dict[str, str]]:
    """A PostgreSQL and a Redis on free ports, and the whole environment that names them.

    A `durable` PostgreSQL flushes each commit to disk, as in production.
    It contains none of the caller's settings, neither from .env nor from variables.
    """
    with temporary_servers(durable=durable) as (postgres, redis):
        yield settings_for_tests(database_url=postgres.url(DATABASE), redis_url=redis.url)


@contextmanager
def temporary_servers(*, durable: bool = False) -> Iterator[tuple[Postgres, Redis]]:
    """The two servers, with an empty database, for tests that stop or break them."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="spotify-token-keeper-", dir=temporary_directory()))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o755)  # root's PostgreSQL runs as another user, who passes through it
        postgres = Postgres(
            home / "postgres",
            port=free_port(),
            password=secrets.token_urlsafe(16),
            options=[
                "max_connections=600",
                f"fsync={'on' if durable else 'off'}",
                "deadlock_timeout=100ms",
            ],
        )
        stack.callback(postgres.stop)
        postgres.start()
        postgres.create_database(DATABASE)
        redis = Redis(
            home / "redis",
            port=free_port(),
            password=secrets.token_urlsafe(16),
            options=['save ""'],
        )
        stack.callback(redis.stop)
        redis.start()
        yield postgres, redis


WITHOUT_LIMITS = {
    "RATE_LIMIT_LOGINS": "0",
    "RATE_LIMIT_ADDRESS": "0",
    "RATE_LIMIT_DASHBOARDS": "0",
    "RATE_LIMIT_TOKENS": "0",
    "RATE_LIMIT_WEB_API_CALLS": "0",
    "RATE_LIMIT_CODE_EXCHANGES": "0",
    "DASHBOARD_KEPT_SECONDS": "0",
}
"""For tests, benchmarks and soaks: all of their load comes from one address, and is meant. A test
of a limit sets it."""


def settings_for_tests(*, database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of a test run: this process's, without any setting of the service."""
    settings = re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    kept = {
        name: value
        for name, value in os.environ.items()
        # PG… would reach psycopg, and a proxy would intercept calls to the tests' servers.
        if name.removesuffix("_FILE") not in settings
        and not name.startswith(("DJANGO_", "PG"))
        # Else each of the run's processes compiles the service, and the tests, again.
        and name != "PYTHONDONTWRITEBYTECODE"
        and not name.lower().endswith("_proxy")
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
        **WITHOUT_LIMITS,
    }


def temporary_directory() -> Path:
    """A directory that root's PostgreSQL can enter: TMPDIR may be closed to it."""
    usual = Path(tempfile.gettempdir())
    return usual if can_enter(usual) else Path("/var/tmp")  # noqa: S108  (mkdtemp inside)
