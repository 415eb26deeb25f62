"""A project of somebody else's that has installed spotify_auth, and a browser for it."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import psycopg
import redis
import requests
from django.db import connection
from psycopg import sql

from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox, decide

PASSWORD = "correct horse battery staple"
USERS = ("eve", "mallory", *(f"user-{number}" for number in range(1, 10)))
ADMINISTRATORS = ("root", "admin")
TIMEOUT_SECONDS = 60
LIFETIME = 600
"""Seconds that an access token lives, also by the projects' settings."""
_LIFETIME_PASSES = """
UPDATE spotify_auth_spotifytoken SET refreshed_at = refreshed_at - by,
    expires_at = expires_at - by, due_at = due_at - by
FROM make_interval(secs => %s) AS by WHERE user_id::text = ANY(%s)
"""


@dataclass
class Project:
    """A running project: its files, its processes and its database."""

    home: Path
    python: list[str]
    """The command of a Python for which spotify_auth is installed."""
    env: dict[str, str]
    url: str
    user_model: str
    sandbox: Sandbox
    broker: redis.Redis
    processes: dict[str, LocalProcess] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    """The primary key of each user, as text."""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the project's directory."""
        return subprocess.run(
            [*self.python, *arguments],
            cwd=self.home,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        """Run a command of Django's that must succeed; what it printed."""
        done = self.run("-m", "django", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def row(self, statement: str, *parameters: object) -> Any:
        """The first row that a statement gives in the project's database; None if there is none."""
        database = json.loads(self.env["DATABASE"])
        with psycopg.connect(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            password=database["PASSWORD"],
            dbname=database["NAME"],
            autocommit=True,
        ) as session:
            done = session.execute(statement.encode(), parameters)
            return done.fetchone() if done.description is not None else None

    def lifetime_passes(self, *user_ids: str) -> None:
        """So much of it that the tokens of these users are due, and none has expired."""
        self.row(_LIFETIME_PASSES, 0.85 * LIFETIME, list(user_ids))

    def make_users(self) -> None:
        """Make everybody whom the tests need, with PASSWORD, in one process."""
        takes_name = self.user_model != "members.Member"
        code = (
            "import json; from django.contrib.auth import get_user_model as model\n"
            "def made(kind, name):\n"
            "    make = getattr(model().objects, f'create_{kind}')\n"
            f"    own = (name,) if {takes_name} else ()\n"
            f"    return str(make(*own, f'{{name}}@example.com', password={PASSWORD!r}).pk)\n"
            f"users = {{name: made('user', name) for name in {USERS}}}\n"
            f"users |= {{name: made('superuser', name) for name in {ADMINISTRATORS}}}\n"
            "print(json.dumps(users))"
        )
        self.users = json.loads(self.manage("shell", "--no-imports", "-c", code))

    def login_name(self, name: str) -> str:
        """What a user of this name types into the login form."""
        return f"{name}@example.com" if self.user_model == "members.Member" else name

    def browser(self, name: str) -> "Browser":
        """A browser in which this user has logged in by the project's own login."""
        browser = Browser(self.url, sandbox=self.sandbox.url)
        form = {"username": self.login_name(name), "password": PASSWORD, "next": "/music/"}
        browser.get("/login/")
        assert browser.post("/login/", **form).status_code == 302
        return browser


class Browser:
    """Cookies, and forms with Django's token."""

    def __init__(self, url: str, *, sandbox: str) -> None:
        self._url, self._sandbox = url, sandbox
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, path: str) -> requests.Response:
        """One page; redirects are not followed."""
        return self._session.get(
            f"{self._url}{path}", allow_redirects=False, timeout=TIMEOUT_SECONDS
        )

    def post(self, path: str, **form: str) -> requests.Response:
        """Send a form, with the token that the last page's form would have."""
        return self._session.post(
            f"{self._url}{path}",
            data=form,
            headers={"X-CSRFToken": self._session.cookies.get("csrftoken", "")},
            allow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )

    def connect(self, persona: str, page: str) -> requests.Response:
        """Press the button on this page, agree at Spotify; the answer to the callback."""
        html = self.get(page).text
        action = re.search(r'<form method="post" action="([^"]*)">', html)
        wanted = re.search(r'name="next" value="([^"]*)"', html)
        assert action, html
        assert wanted, html
        sent = self.post(action[1], next=wanted[1])
        assert sent.status_code == 302, sent.text
        parameters = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))
        back = urlsplit(decide(self._sandbox, {**parameters, "persona": persona}))
        return self.get(f"{back.path}?{back.query}")


@contextmanager
def database_of_its_own(name: str) -> Iterator[dict[str, object]]:
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
