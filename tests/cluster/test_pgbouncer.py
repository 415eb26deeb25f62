"""The whole service behind a pgbouncer in transaction mode: pages, lanes, logins, nudges, keys.

Each transaction has another session of the server (`server_round_robin`), so that what a
transaction leaves behind, or misses, shows.
"""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest
import requests
from django.conf import settings
from django.db import connection as database
from django.test import Client, override_settings
from django.urls import reverse
from pytest_celery import CeleryBrokerCluster

from accounts.models import User
from dev.process import ROOT, free_port
from spotify_auth.models import Cause, SpotifyToken, TokenEvent
from tests.support.fault_stack import default_database
from tests.support.keys import NEW, OLD, in_base64, keys
from tests.support.login import log_in
from tests.support.pgbouncer import Pgbouncer, running
from tests.support.processes import beat_process, wait_for, web_process, worker_process
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

LANES = 4


@pytest.fixture
def lifetime() -> int:
    """Nothing is refreshed but what the test asks for."""
    return 600


@pytest.fixture
def pgbouncer(transactional_db: None) -> Iterator[Pgbouncer]:
    # More than the lanes and the pages hold at the same time.
    with running(pool_size=LANES + 4) as pooler:
        yield pooler


@pytest.fixture
def direct_url(service_env: dict[str, str]) -> str:
    """The database without pgbouncer."""
    return service_env["DATABASE_URL"]


@pytest.fixture
def env(service_env: dict[str, str], direct_url: str, pgbouncer: Pgbouncer) -> dict[str, str]:
    """The environment of the service's processes, which all are behind pgbouncer."""
    return {
        **service_env,
        "DATABASE_URL": pgbouncer.through(direct_url),
        "TOKEN_ENCRYPTION_KEYS": in_base64(OLD, NEW),
        "REFRESH_SWEEP_SECONDS": "0.5",
    }


@pytest.fixture
def started(
    env: dict[str, str], fast_sandbox: Sandbox, celery_broker_cluster: CeleryBrokerCluster
) -> Iterator[str]:
    """A web server, a worker and a beat, and this process, all behind pgbouncer; the site."""
    port = str(free_port())
    env = {**env, "HOST": "127.0.0.1", "PORT": port, "WEB_CONCURRENCY": "1"}
    env["SPOTIFY_REDIRECT_URI"] = f"http://127.0.0.1:{port}/spotify/callback/"
    with ExitStack() as stack:
        for process in (
            worker_process("worker", env=env, concurrency=LANES),
            beat_process("beat", env=env),
            web_process("web", env=env),
        ):
            stack.callback(process.teardown)
            process.ready()
        stack.enter_context(
            override_settings(
                REDIS_URL=env["REDIS_URL"],
                SPOTIFY_ACCOUNTS_URL=fast_sandbox.url,
                SPOTIFY_API_URL=fast_sandbox.url,
            )
        )
        stack.enter_context(keys(OLD, NEW))
        stack.enter_context(default_database(env["DATABASE_URL"]))
        yield f"http://127.0.0.1:{port}"


def manage(env: dict[str, str], *words: str) -> str:
    """A command of manage.py in a process of its own; what it says."""
    ended = subprocess.run(
        [sys.executable, "manage.py", *words],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def are_at(users: list[User], generation: int) -> bool:
    """Whether all tokens are of this generation."""
    return {token_of(user).generation for user in users} == {generation}


def test_the_service_works_and_leaves_nothing_in_a_session(
    started: str,
    env: dict[str, str],
    fast_sandbox: Sandbox,
    pgbouncer: Pgbouncer,
    direct_url: str,
) -> None:
    assert database.settings_dict["PORT"] == pgbouncer.port
    # Logins and pages.
    browsers = [Client() for _ in range(2 * LANES)]
    for number, browser in enumerate(browsers):
        assert log_in(browser, fast_sandbox, f"user-{number}").status_code == 302
        assert browser.get(reverse("accounts:dashboard")).status_code == 200
    users = list(User.objects.order_by("pk"))
    # Lanes: twice as many tokens as there are threads.
    for user in users:
        make_due(user)
    wait_for(partial(are_at, users, 2), what="the lanes")
    # A nudge: a page meets a stale token that is not due.
    first = SpotifyToken.objects.filter(pk=users[0].pk)
    first.update(expires_at=token_of(users[0]).refreshed_at)
    cookie = {settings.SESSION_COOKIE_NAME: browsers[0].cookies[settings.SESSION_COOKIE_NAME].value}
    page = requests.get(started + reverse("accounts:dashboard"), cookies=cookie, timeout=60)
    assert "Reconnecting to Spotify" in page.text
    wait_for(partial(are_at, users[:1], 3), what="the nudge")
    nudged = TokenEvent.objects.filter(user=users[0]).latest("pk")
    assert nudged.cause == Cause.STALE_READ
    # Keys.
    to_new = {**env, "TOKEN_ENCRYPTION_KEYS": in_base64(NEW, OLD)}
    manage(to_new, "tokens", "rotate-keys")
    assert "A pooler stands before it." in manage(env, "doctor", "--only", "postgresql")
    # All of it with the right tokens, and in sessions that are as they were.
    for user in users:
        assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id
    assert fast_sandbox.stats()["totals"]["reuses_of_dead_token"] == 0
    assert pgbouncer.left_in_sessions(direct_url) == set()


def test_migrations_pass_through_it(
    env: dict[str, str], pgbouncer: Pgbouncer, direct_url: str
) -> None:
    empty = f"pooled_{secrets.token_hex(4)}"
    address, _, _ = direct_url.rpartition("/")
    with psycopg.connect(f"{address}/postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {empty}")
        try:
            url = pgbouncer.through(f"{address}/{empty}")
            manage({**env, "DATABASE_URL": url}, "migrate", "--verbosity", "0")
            assert pgbouncer.left_in_sessions(f"{address}/{empty}") == set()
        finally:
            server.execute(f"DROP DATABASE {empty} WITH (FORCE)")
