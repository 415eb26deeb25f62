"""docs/how-to/add-to-a-project.md, followed literally: each block of code, each command.

In a new project of `django-admin startproject`, with the wheel, in an environment of its own.
Only the ports are changed, and the servers are named by the variables that the page names.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from django.conf import settings

from dev.dist import Built
from dev.process import ROOT, free_port
from tests.support.processes import LocalProcess, teardown_together, wait_for
from tests.support.standalone import PASSWORD, Browser, database_of_its_own

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("guide")]

TEXT = (ROOT / "docs/how-to/add-to-a-project.md").read_text()
ASGI = (ROOT / "docs/how-to/read-in-async-views.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```(sh|python)\n(.*?)```", TEXT, re.DOTALL)
FILES = [text for language, text in BLOCKS if language == "python" and text.startswith("# mysite/")]
INSTALL, EXPORT, PREPARE, START, REFRESH, LOOK, REMOVE = (
    text for name, text in BLOCKS if name == "sh"
)
ASGI_FILES: list[tuple[str, str]] = re.findall(
    r"```python\n# (mysite/\S+)\n(.*?)```", ASGI, re.DOTALL
)
READY = ("ready on", "Quit the server", "ready.", "beat: Starting")
"""What the processes of START write, in their order, when they are ready."""


POOL_OF_ASGI = """
import mysite.asgi
from django.db import connection

connection.ensure_connection()
print(connection.pool.max_size)
"""


class Shell:
    """A terminal in the project's directory and environment."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home, self.env = home, env
        self.ports = {"8000": str(free_port()), "8090": str(free_port())}
        """Those that stand in the place of the page's."""

    def with_ports(self, text: str) -> str:
        """A part of the page, with this terminal's ports."""
        return re.sub(r"\b(8000|8090)\b", lambda port: self.ports[port[1]], text)

    def run(self, commands: str) -> str:
        """Run commands that must succeed; what they printed. What they export stays."""
        done = subprocess.run(
            ["/bin/bash", "-euc", f"{self.with_ports(commands)}\nenv -0 > .env0"],
            cwd=self.home,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (self.home / ".env0").read_text().rstrip("\0").split("\0")
        self.env = dict(line.split("=", 1) for line in lines)
        return done.stdout

    def start(self, command: str, ready_when: str) -> LocalProcess:
        """Start a command that stays."""
        return LocalProcess(
            "guide",
            ["bash", "-c", f"exec {self.with_ports(command)}"],
            env=self.env,
            ready_when=ready_when,
            cwd=self.home,
        )


@pytest.fixture
def shell(tmp_path: Path, built: Built, django_db_setup: None) -> Iterator[Shell]:
    """A new project with users, and its environment, in which everything but the wheel is there."""
    home = tmp_path / "project"
    home.mkdir()
    venv.create(tmp_path / "venv")
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    dist = tmp_path / "spotify-token-keeper/dist"  # as in a clone in the home directory
    dist.mkdir(parents=True)
    shutil.copy(built.wheel, dist)
    with ExitStack() as stack:
        database = stack.enter_context(database_of_its_own("guide"))
        broker = stack.enter_context(redis.Redis.from_url(settings.REDIS_URL))
        broker.flushdb()
        stack.callback(broker.flushdb)
        shell = Shell(
            home,
            {
                "PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "PYTHONUNBUFFERED": "1",
                "PIP_NO_INDEX": "1",
                "REDIS_URL": settings.REDIS_URL,
                **{
                    f"PG{name}": str(database[name])
                    for name in ("HOST", "PORT", "USER", "PASSWORD")
                },
                "PGDATABASE": str(database["NAME"]),
            },
        )
        shell.run("python -m django startproject mysite .")
        yield shell


def test_the_guide_leads_to_a_refreshed_token(shell: Shell) -> None:
    shell.run(INSTALL)
    for text in FILES:
        with (shell.home / text.split("\n", 1)[0].removeprefix("# ")).open("a") as file:
            file.write(f"\n{shell.with_ports(text)}")
    shell.run(EXPORT)
    for name, text in ASGI_FILES:
        (shell.home / name).write_text(shell.with_ports(text))
    assert "no issues" in shell.run(PREPARE)
    assert "no issues" in shell.run("python manage.py check --settings mysite.asgi_settings")
    assert shell.run(f"python -c '{POOL_OF_ASGI}'").strip() == "16"
    shell.run(
        f"DJANGO_SUPERUSER_PASSWORD='{PASSWORD}' python manage.py createsuperuser "
        "--no-input --username admin --email admin@example.com"
    )
    lines = START.splitlines()
    assert len(lines) == len(READY)
    processes = [shell.start(*each) for each in zip(lines, READY, strict=True)]
    try:
        for process in processes:
            process.ready()
        site = f"http://127.0.0.1:{shell.ports['8000']}"
        browser = Browser(site, sandbox=shell.env["SANDBOX_URL"])
        browser.get("/admin/login/")
        assert browser.post("/admin/login/", username="admin", password=PASSWORD).status_code == 302
        assert "Spotify is not connected" in browser.get("/artists/").text
        assert browser.connect("listener", "/artists/").status_code == 302
        assert len(browser.get("/artists/").json()["artists"]) == 5

        shell.run(REFRESH)
        worker = processes[2]
        wait_for(lambda: " refreshed user_id=" in worker.logs(), what="a sweep, and the refresh")
        said = shell.run(LOOK)

        assert re.search(r"\brefreshed\b", said), said
        assert "Traceback" not in "".join(process.logs() for process in processes)
    finally:
        teardown_together(processes)
    assert "spotify_auth.0001_initial... OK" in shell.run(REMOVE)
