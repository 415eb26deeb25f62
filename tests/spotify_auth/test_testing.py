"""The pytest plugin in a project of somebody else's, by docs/how-to/test-your-project.md."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tomllib
from base64 import b64encode
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from dev.process import ROOT, free_port

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

PAGE = (ROOT / "docs/how-to/test-your-project.md").read_text()
PLUGIN = "spotify_auth.testing.plugin"
MORE = """
import os

import pytest
import redis
from spotify_auth.testing import World


@pytest.mark.django_db(transaction=True)
def test_transactions(spotify_user, spotify_sandbox, hours_pass, refresh_due_tokens, settings):
    spotify_sandbox.reset(World.SPOTIFY_2026)  # each grant is forgotten
    hours_pass(1)
    assert refresh_due_tokens() == ["suspected"]


def test_a_limit_of_all(spotify_user, spotify_sandbox, hours_pass, refresh_due_tokens):
    spotify_sandbox.faults("rate_limited", retry_after="30")
    hours_pass(1)
    assert refresh_due_tokens() == ["retry"]
    with redis.Redis.from_url(os.environ["SPOTIFY_TEST_REDIS_URL"]) as client:
        assert client.keys("spotify_auth:cooldown:*")  # where the project's own is not
    spotify_sandbox.clear()
    assert refresh_due_tokens() == []  # all refreshing pauses


def test_no_pause_of_the_test_before(spotify_user, spotify_sandbox, hours_pass, refresh_due_tokens):
    hours_pass(1)
    assert refresh_due_tokens() == ["refreshed"]


def test_a_callback_of_its_own_gets_a_code(spotify_sandbox):
    callback = "http://127.0.0.1:8000/login/spotify/callback/"
    asked = {"client_id": spotify_sandbox.client_id, "response_type": "code", "state": "s",
        "redirect_uri": callback}

    back = spotify_sandbox.authorize(asked, "user-1")

    assert back.startswith(callback + "?code=")
    code = back.partition("code=")[2].partition("&")[0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback}
    assert spotify_sandbox.token(**form).json()["access_token"]


def test_no_count_of_the_test_before(db, spotify_sandbox):
    assert spotify_sandbox.stats()["totals"]["refreshes"] == 0
"""
WITHOUT_US = """
import sys

def test_nothing_is_imported():
    assert not [name for name in sys.modules if name.startswith(("django.", "spotify_auth.models",
        "spotify_auth.refresh", "aiohttp", "celery", "redis"))]
"""

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, django_db_setup: None) -> Run:
    """Run pytest in a directory with a project, or with the named files alone; what it printed."""
    database = connection.settings_dict
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TOKEN_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
        "PGHOST": database["HOST"],
        "PGPORT": str(database["PORT"]),
        "PGUSER": database["USER"],
        "PGPASSWORD": database["PASSWORD"],
        "PGDATABASE": f"plugin_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}",
        # The project's own, which no test may touch: nothing listens there.
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "SPOTIFY_CLIENT_ID": "of-the-project",
        "SPOTIFY_CLIENT_SECRET": "of-the-project",
        "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8000/spotify/callback/",
    }

    def pytest_in(project: Path | None, files: dict[str, str], **overrides: str) -> str:
        home = tmp_path / "home"
        if project:
            shutil.copytree(project, home)
        for name, text in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                PLUGIN,
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
            ],
            cwd=home,
            env={**env, **overrides},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.stdout + done.stderr

    return pytest_in


def files_of_the_page() -> dict[str, str]:
    return dict(re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```", PAGE, re.DOTALL))


def test_the_page_works_in_the_example(run: Run) -> None:
    files = files_of_the_page()
    assert list(files) == ["pytest.ini", "tests/test_music.py", "tests/test_login.py"]
    (callbacks,) = re.findall(r"```ini\n(spotify_redirect_uris.*?)```", PAGE, re.DOTALL)
    files["pytest.ini"] += callbacks

    said = run(
        ROOT / "examples/music_site",
        {**files, "tests/test_more.py": MORE},
        SPOTIFY_TEST_REDIS_URL=settings.REDIS_URL,
    )

    assert "11 passed" in said, said


def test_without_a_redis_it_says_what_to_write(run: Run) -> None:
    files = files_of_the_page()
    test = "def test_it(spotify_sandbox): pass"
    ini = files["pytest.ini"].replace("spotify_redis_url", "#")

    said = run(ROOT / "examples/music_site", {"pytest.ini": ini, "tests/test_it.py": test})

    assert "Write `spotify_redis_url = redis://127.0.0.1:6379/9` into pytest's" in said


def test_a_redis_that_is_away_is_named_without_its_password(run: Run) -> None:
    address = f"127.0.0.1:{free_port()}/0"
    test = "def test_it(spotify_sandbox): pass"

    said = run(
        ROOT / "examples/music_site",
        {"pytest.ini": files_of_the_page()["pytest.ini"], "tests/test_it.py": test},
        SPOTIFY_TEST_REDIS_URL=f"redis://:a-password@{address}",
    )

    assert f"redis://{address}, cannot be used" in said
    assert "a-password" not in said


def test_a_project_that_asks_for_no_fixture_does_not_notice_it(run: Run) -> None:
    others = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # pytest-celery imports Celery, for example

    said = run(None, {"test_it.py": WITHOUT_US, "pytest.ini": "[pytest]"}, **others)

    assert "1 passed" in said, said


def test_pytest_finds_it_where_the_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert (
        import_module(project["entry-points"]["pytest11"]["spotify_token_keeper"]).__name__
        == PLUGIN
    )
    assert "pytest-django" in str(project["optional-dependencies"]["testing"])
