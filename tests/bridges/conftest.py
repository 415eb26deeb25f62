"""One project for all bridges: its database, its processes, and a sandbox with short tokens."""

import json
import os
import secrets
import shutil
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from django.conf import settings

from dev.process import ROOT, free_port
from tests.support import guides
from tests.support.processes import LocalProcess, teardown_together
from tests.support.sandbox_client import Sandbox
from tests.support.standalone import LIFETIME, Project, database_of_its_own

GUIDES = ("come-from-allauth.md", "come-from-social-auth.md", "come-from-spotipy.md")
CALLBACKS = ("accounts/spotify/login/callback/", "social/complete/spotify/", "spotipy/callback/")


@pytest.fixture(scope="package")
def fast_sandbox() -> Iterator[Sandbox]:
    """A sandbox whose access tokens live as long as the project's settings say."""
    # Registered without a port, a loopback redirect URI accepts any.
    addresses = [f"http://127.0.0.1/{path}" for path in CALLBACKS]
    options = [part for address in addresses for part in ("--redirect-uri", address)]
    with Sandbox(access_token_lifetime=LIFETIME, options=options) as sandbox:
        yield sandbox


@pytest.fixture(scope="package")
def project(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, fast_sandbox: Sandbox
) -> Iterator[Project]:
    """The project with the three guides applied, migrated and running."""
    home = tmp_path_factory.mktemp("bridged")
    shutil.copytree(ROOT / "spotify_auth", home / "spotify_auth")
    shutil.copytree(ROOT / "tests/support/bridged_project", home, dirs_exist_ok=True)
    for guide in GUIDES:
        guides.apply_code(guide, home, package="bridged")
    with ExitStack() as stack:
        database = stack.enter_context(database_of_its_own("bridged"))
        broker = stack.enter_context(redis.Redis.from_url(settings.REDIS_URL))
        broker.flushdb()
        stack.callback(broker.flushdb)
        port = free_port()
        env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "SPOTIFY_CLIENT_ID": Sandbox.client_id,
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "bridged.settings",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "TOKEN_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
            "DATABASE": json.dumps(database),
            "BROKER_URL": settings.REDIS_URL,
            "SPOTIFY_URL": fast_sandbox.url,
        }
        project = Project(
            home=home,
            python=[sys.executable],
            env=env,
            url=f"http://127.0.0.1:{port}",
            user_model="auth.User",
            sandbox=fast_sandbox,
            broker=broker,
        )
        project.manage("migrate", "--verbosity", "0")
        project.make_users()
        processes = project.processes
        stack.callback(lambda: teardown_together(processes.values()))
        for name, (command, ready_when) in _commands(port).items():
            processes[name] = LocalProcess(
                f"bridged-{name}",
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
    return {
        "web": (
            f"gunicorn bridged.wsgi --bind 127.0.0.1:{port} --threads 8",
            "Booting worker",
        ),
        "worker": (
            "celery -A bridged worker -l info --pool threads --concurrency 4 -Q celery,lanes",
            "ready.",
        ),
        "beat": ("celery -A bridged beat -l info", "beat: Starting"),
    }
