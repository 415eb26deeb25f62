"""spotify_auth in a project of somebody else's: web server, worker and beat, as real processes."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis
from django.conf import settings

from dev import dist
from dev.dist import Built
from dev.process import ROOT, free_port
from tests.support.processes import LocalProcess, teardown_together
from tests.support.sandbox_client import Sandbox
from tests.support.standalone import LIFETIME, Project, database_of_its_own

USER_MODELS = ["auth.User", "members.Member"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist and the wheel, built for this run."""
    return dist.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def python(
    built: Built, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, str]]:
    """A Python for which the wheel is installed, and what its environment needs for that.

    `make test-matrix` brings environments of its own. Otherwise it is this Python with its
    libraries, and the wheel in a directory.
    """
    if brought := os.environ.get("STANDALONE_PYTHON"):
        return [brought], {}
    target = tmp_path_factory.mktemp("site-packages")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", *install, str(built.wheel)], check=True)
    return [sys.executable], {"PYTHONPATH": str(target)}


@pytest.fixture(scope="module")
def fast_sandbox(
    python: tuple[list[str], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """The installed sandbox; its access tokens live as long as the project's settings say."""
    # Registered without a port, a loopback redirect URI accepts any.
    options = ["--redirect-uri", "http://127.0.0.1/spotify/callback/"]
    elsewhere = tmp_path_factory.mktemp("sandbox")
    command, env = python
    with Sandbox(
        access_token_lifetime=LIFETIME, options=options, python=command, env=env, cwd=elsewhere
    ) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def broker_url() -> str:
    """Celery's broker: Redis, which is needed anyway."""
    return str(settings.REDIS_URL)


@pytest.fixture(scope="module", params=USER_MODELS)
def project(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    fast_sandbox: Sandbox,
    python: tuple[list[str], dict[str, str]],
    broker_url: str,
) -> Iterator[Project]:
    """The project with its database, migrated and running; one for each kind of user."""
    home = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(ROOT / "examples/music_site/music_site", home / "music_site")
    shutil.copytree(ROOT / "tests/support/standalone_project", home / "standalone_project")
    command, paths = python
    with ExitStack() as stack:
        database = stack.enter_context(database_of_its_own("standalone"))
        broker = stack.enter_context(redis.Redis.from_url(settings.REDIS_URL))
        broker.flushdb()
        stack.callback(broker.flushdb)
        port = free_port()
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **paths,
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "standalone_project.settings",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "TOKEN_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
            "DATABASE": json.dumps(database),
            "USER_MODEL": request.param,
            "REDIS_URL": settings.REDIS_URL,
            "BROKER_URL": broker_url,
            "SANDBOX_URL": fast_sandbox.url,
            "SPOTIFY_CLIENT_ID": fast_sandbox.client_id,
            "SPOTIFY_CLIENT_SECRET": fast_sandbox.client_secret,
            "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8000/spotify/callback/",
        }
        project = Project(
            home=home,
            python=command,
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
        for name, (arguments, ready_when) in _commands(port).items():
            processes[name] = LocalProcess(
                f"standalone-{name}",
                [*command, "-m", *arguments.split()],
                env=env,
                ready_when=ready_when,
                cwd=home,
            )
        for process in processes.values():
            process.ready()
        yield project


def _commands(port: int) -> dict[str, tuple[str, str]]:
    """What runs, and what each writes when it is ready."""
    celery = "celery -A music_site"
    return {
        "web": (
            f"gunicorn music_site.wsgi --bind 127.0.0.1:{port} --threads 4",
            "Booting worker",
        ),
        "worker": (
            f"{celery} worker -l info --pool threads --concurrency 4 -Q celery,lanes,webhooks",
            "ready.",
        ),
        "beat": (f"{celery} beat -l info", "beat: Starting"),
    }
