"""spotify_auth in a project of somebody else's: web server, worker and beat, as real processes."""

import json
import os
import secrets
import shutil
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from psycopg import sql

from dev.process import ROOT, free_port
from tests.support.processes import LocalProcess, teardown_together
from tests.support.sandbox_client import Sandbox
from tests.support.standalone import Project

USER_MODELS = ["auth.User", "members.Member"]


@pytest.fixture(scope="module")
def fast_sandbox() -> Iterator[Sandbox]:
    """A sandbox whose access tokens live for eight seconds."""
    # Registered without a port, a loopback redirect URI accepts any.
    options = ["--redirect-uri", "http://127.0.0.1/spotify/callback/"]
    with Sandbox(access_token_lifetime=8, options=options) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", params=USER_MODELS)
def project(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    fast_sandbox: Sandbox,
) -> Iterator[Project]:
    """The project with its database, migrated and running; one for each kind of user."""
    home = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(ROOT / "spotify_auth", home / "spotify_auth")
    shutil.copytree(ROOT / "tests/support/standalone_project", home / "standalone_project")
    with ExitStack() as stack:
        database = stack.enter_context(_database("standalone"))
        broker = stack.enter_context(redis.Redis.from_url(settings.REDIS_URL))
        broker.flushdb()
        stack.callback(broker.flushdb)
        port = free_port()
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "standalone_project.settings",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "TOKEN_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
            "DATABASE": json.dumps(database),
            "USER_MODEL": request.param,
            "BROKER_URL": settings.REDIS_URL,
            "SPOTIFY_URL": fast_sandbox.url,
        }
        project = Project(
            home=home,
            env=env,
            url=f"http://127.0.0.1:{port}",
            user_model=request.param,
            sandbox=fast_sandbox,
            broker=broker,
        )
        project.manage("migrate", "--verbosity", "0")
        project.make_users()
        processes = project.processes
        stack.callback(lambda: teardown_together(processes.values()))
        for name, (command, ready_when) in _commands(port).items():
            processes[name] = LocalProcess(
                f"standalone-{name}",
                [sys.executable, "-m", *command.split()],
                env=env,
                ready_when=ready_when,
                cwd=home,
            )
        for process in processes.values():
            process.ready()
        yield project


def _commands(port: int) -> dict[str, tuple[str, str]]:
    """What runs, and what each writes when it is ready."""
    celery = "celery -A standalone_project"
    return {
        "web": (
            f"gunicorn standalone_project.wsgi --bind 127.0.0.1:{port} --threads 4",
            "Booting worker",
        ),
        "worker": (
            f"{celery} worker -l info --pool threads --concurrency 4 -Q celery,lanes",
            "ready.",
        ),
        "beat": (f"{celery} beat -l info", "beat: Starting"),
    }


@contextmanager
def _database(name: str) -> Iterator[dict[str, object]]:
    """An empty database on the server of the tests; Django's settings for it."""
    here = connection.settings_dict
    address = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
        **{key: quote(str(here[key]), safe="") for key in here if key.isupper()}
    )
    own = f"{here['NAME']}_{name}"
    with psycopg.connect(address, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(own)))
    try:
        parts = ("USER", "PASSWORD", "HOST", "PORT")
        yield {
            "ENGINE": "django.db.backends.postgresql",
            **{part: here[part] for part in parts},
            "NAME": own,
            "CONN_MAX_AGE": None,
        }
    finally:
        with psycopg.connect(address, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(own)))
