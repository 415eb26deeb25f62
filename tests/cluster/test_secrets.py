"""Nothing secret leaves its place, even when everything goes wrong and all is logged."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import requests
from django.conf import settings
from django.db import connection as database
from pytest_celery import CeleryTestSetup

from accounts.models import User
from dev.process import ROOT, free_port
from spotify_auth.models import SpotifyToken
from spotify_auth.notices.models import Kind
from spotify_auth.webhooks import endpoints
from spotify_auth.webhooks.models import WebhookEndpoint
from tests.support.processes import json_lines, wait_for, web_process
from tests.support.receiver import Receiver, receiving
from tests.support.sandbox_client import Sandbox
from tests.support.sentry import SentryServer
from tests.support.tokens import make_due, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

FAULTS: dict[str, dict[str, Any]] = {
    # what the worker's log says of it: the fault
    '"error": "http_503"': {"fault": "unavailable"},
    '"error": "answer_without_access_token"': {"fault": "garbage"},
    '"error": "connection_cut"': {"fault": "connection_reset"},
    '"error": "invalid_client"': {"fault": "invalid_client"},
    '"outcome": "suspected"': {"fault": "false_invalid_grant"},
    '"reason": "rate_limited"': {"fault": "rate_limited", "retry_after": "0"},
}


@pytest.fixture
def lifetime() -> int:
    """So long that no slow machine overruns the deadline of a call, which follows from it."""
    return 120


@pytest.fixture
def cluster_size() -> tuple[int, int]:
    """One worker and one beat leave the same traces as many."""
    return 1, 1


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    with SentryServer() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def service_env(service_env: dict[str, str], sentry: SentryServer) -> dict[str, str]:
    """As talkative as the service can be, also to a Sentry with its defaults."""
    port = free_port()
    return {
        **service_env,
        "DEBUG": "true",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",  # of each line it shows as much as text does, and more
        "SENTRY_DSN": sentry.dsn,
        "PYTHONPATH": str(ROOT / "tests/support/sentry_site"),
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{port}/spotify/callback/",
    }


def log_in(site: str, sandbox: Sandbox, *, replay: bool) -> dict[str, str]:
    """Log in as a browser would; the secrets that went by."""
    browser = requests.Session()
    browser.trust_env = False
    form = browser.get(site, timeout=30).text
    csrf = form.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    answer = browser.post(
        f"{site}/spotify/login/",
        data={"csrfmiddlewaretoken": csrf},
        allow_redirects=False,
        timeout=30,
    )
    asked = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
    cookies = {name: value for name, value in browser.cookies.items() if value}
    callback = sandbox.authorize(asked, "listener")
    for _ in range(1 + replay):
        browser.get(callback, allow_redirects=False, timeout=30)
    code = parse_qs(urlsplit(callback).query)["code"][0]
    session = browser.cookies["sessionid"]
    return {"state": asked["state"], "code": code, "session": session, **cookies}


def add_webhook(receiver: Receiver) -> dict[str, str]:
    """An address with two secrets, whose receiver tells them both and fails."""
    endpoint = WebhookEndpoint(name="the tests", url=receiver.url, kinds=list(Kind))
    old = endpoints.give_secret(endpoint)
    endpoint.save(force_insert=True)
    new = endpoints.renew_secret(endpoint)
    receiver.next = [500] * 1000
    receiver.says = f"{new} {old}".encode()
    return {"webhook secret": new, "previous webhook secret": old}


def is_logged(setup: CeleryTestSetup, line: str) -> bool:
    return any(line in node.logs() for node in setup.worker_cluster)


def forget_the_cooldown(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        for key in client.scan_iter("spotify_auth:cooldown:*"):
            client.delete(key)


def dump_of_postgresql() -> str:
    """All rows of all tables, as a dump has them; and what is encrypted as text too."""
    found = []
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            found += [
                repr([bytes(v) if isinstance(v, memoryview) else v for v in row])
                for row in cursor.fetchall()
            ]
    return "\n".join(found)


def dump_of_redis(url: str) -> str:
    """Every key and value that Redis would write to its disk."""
    with redis.Redis.from_url(url) as client:
        return "\n".join(f"{key!r} {client.dump(key)!r}" for key in client.scan_iter())


def command_lines(groups: Iterable[int]) -> str:
    """What `ps` shows of these process groups, to every user of the machine."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(directory.name)) in set(groups):
                found.append((directory / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ProcessLookupError):
            continue  # it has ended meanwhile
    return "\n".join(found)


def celery_says(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "config", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_secret_is_logged_sent_or_stored_in_the_clear(
    celery_setup: CeleryTestSetup,
    fast_sandbox: Sandbox,
    service_env: dict[str, str],
    sentry: SentryServer,
    receiver: Receiver,
) -> None:
    broker_url = service_env["REDIS_URL"]
    commands: list[str] = []

    def watch_the_broker() -> None:
        with redis.Redis.from_url(broker_url).monitor() as monitor:  # type: ignore[no-untyped-call]
            for command in monitor.listen():
                commands.append(str(command))
                if "stop-watching" in commands[-1]:
                    return

    watcher = threading.Thread(target=watch_the_broker)
    watcher.start()
    web = web_process("web", env=service_env)
    web.ready()
    site = f"http://127.0.0.1:{service_env['PORT']}"
    try:
        secrets = log_in(site, fast_sandbox, replay=True)
        user = User.objects.get()
        secrets |= {"access 0": str(token_of(user).access_token)}
        secrets |= {"refresh 0": str(token_of(user).refresh_token)}
        secrets |= add_webhook(receiver)
        for line, fault in FAULTS.items():
            fast_sandbox.faults(**fault)
            make_due(user)
            wait_for(partial(is_logged, celery_setup, line), what=line)
            fast_sandbox.clear()
            forget_the_cooldown(broker_url)
            SpotifyToken.objects.update(suspected_at=None)
        make_due(user)
        wait_for(lambda: token_of(user).generation > 1, what="a refresh")
        wait_for(lambda: "invalid_client" in sentry.text, what="Sentry to be told")
        wait_for(partial(is_logged, celery_setup, "webhook_attempted"), what="a webhook to fail")
        redis_dump = dump_of_redis(broker_url)
        groups = [node.container.pid for node in celery_setup.worker_cluster]
        shown = command_lines([*groups, web.pid])
    finally:
        web.stop()
        redis.Redis.from_url(broker_url).echo("stop-watching")
        watcher.join(timeout=30)
    token = token_of(user)
    secrets |= {"access": str(token.access_token), "refresh": str(token.refresh_token)}
    secrets |= {
        "client secret": settings.SPOTIFY_CLIENT_SECRET,
        "encryption key": service_env["TOKEN_ENCRYPTION_KEYS"],
        "secret key": service_env["SECRET_KEY"],
    }
    time.sleep(0.2)

    # Whole lines: these processes go on writing.
    written = {node.name(): node.logs() for node in celery_setup.worker_cluster}
    logs = {name: log.rpartition("\n")[0] for name, log in written.items()}
    logs |= {"web": web.logs()}
    places = logs | {f"{name}, read": str(json_lines(logs[name])) for name in logs}
    places |= {"broker": "\n".join(commands), "ps": shown}
    places |= {"a dump of PostgreSQL": dump_of_postgresql(), "a dump of Redis": redis_dump}
    places |= {
        "Sentry": sentry.text,
        "celery report": celery_says("report", env=service_env).stdout,
    }
    assert "'event': 'refreshed'" in "".join(places.values())  # the logs are the right ones
    assert "'event': 'connected'" in places["web, read"]
    assert len(commands) > 10
    assert "celery" in places["ps"]
    assert "CELERY_BROKER_URL" in places["celery report"]
    assert str(user.account_id) in places["a dump of PostgreSQL"]
    for place, text in places.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} is in {place}"
    web.teardown()


def test_celery_gives_no_password_away_and_takes_no_orders(
    celery_setup: CeleryTestSetup, service_env: dict[str, str]
) -> None:
    password = "a-password-of-redis"
    url = service_env["REDIS_URL"].replace("redis://", f"redis://:{password}@")

    report = celery_says("report", env={**service_env, "REDIS_URL": url, "SENTRY_DSN": ""})
    assert report.returncode == 0, report.stderr
    assert password not in report.stdout
    assert str(database.settings_dict["PASSWORD"]) not in report.stdout

    asked = celery_says("inspect", "conf", "--timeout", "2", env=service_env)
    assert "No nodes replied" in asked.stdout + asked.stderr
    celery_says("control", "shutdown", "--timeout", "2", env=service_env)
    assert [node.container.status for node in celery_setup.worker_cluster] == ["running"] * 2
