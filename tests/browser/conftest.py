"""A real Chromium in front of the whole service: sandbox, gunicorn, worker, beat."""

import os
import shutil
from collections.abc import Iterator

import pytest
import redis
from django.conf import global_settings, settings
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django import Settings

from accounts.models import User
from dev.process import free_port
from tests.support.browser import Stack, Visitor
from tests.support.hosts import HOST_RULES
from tests.support.processes import (
    beat_process,
    service_environment,
    teardown_together,
    web_process,
    worker_process,
)
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import forget


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep a module in one process of pytest-xdist: its tests share `processes`."""
    item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser, or a skip that says why there is none."""
    path = os.environ.get("CHROMIUM_PATH") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if not path:
        pytest.skip(os.environ.get("BROWSER_TESTS_SKIPPED_BECAUSE", "no Chromium on PATH"))
    # Playwright leaves its event loop running in this thread, where Django then takes
    # every query for one from asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    # Five seconds by default: a busy machine takes longer for a page.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        # Root cannot use Chromium's own sandbox; the pages it opens are ours.
        arguments = [
            "--disable-gpu",
            "--disable-background-networking",
            f"--host-resolver-rules={HOST_RULES}",
        ]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
        # While that loop runs, Django has a connection of its own for this thread, which
        # nobody could reach any more.
        database.close()


@pytest.fixture(scope="module")
def lifetime() -> int:
    """Seconds that an access token lives.

    So long that no slow machine overruns the deadline of a call, and that nothing is refreshed but
    what a test makes due.
    """
    return 600


@pytest.fixture(scope="module")
def processes(django_db_setup: None, lifetime: int) -> Iterator[Stack]:
    """Everything that `make run` starts, on the test database and on free ports."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    redirect_uri = f"{url}/spotify/callback/"
    with Sandbox(
        access_token_lifetime=lifetime, options=["--redirect-uri", redirect_uri]
    ) as sandbox:
        env = service_environment(
            spotify_url=sandbox.url,
            redis_url=settings.REDIS_URL,
            HOST="127.0.0.1",
            PORT=str(port),
            ALLOWED_HOSTS="127.0.0.1",
            SPOTIFY_REDIRECT_URI=redirect_uri,
            ACCESS_TOKEN_LIFETIME_SECONDS=str(lifetime),
            ACCESS_TOKEN_MINIMUM_SECONDS="1",
            REFRESH_SWEEP_SECONDS="0.2",
            # The margin is 20 % of a lifetime; 3 sweeps and 2 deadlines fit into it.
            TOKEN_ENDPOINT_DEADLINE_SECONDS=str(min(12, lifetime / 15)),
            WEB_CONCURRENCY="1",
        )
        started = [
            worker_process("worker", env=env),
            web_process("web", env=env),
            beat_process("beat", env=env),
        ]
        try:
            for process in started:
                process.ready()
            yield Stack(url=url, sandbox=sandbox, worker=started[0])
        finally:
            teardown_together(started)


@pytest.fixture
def stack(
    processes: Stack, transactional_db: None, no_cooldown: None, settings: Settings
) -> Iterator[Stack]:
    """The module's processes, for one test: an empty database and a new sandbox."""
    # As the web server hashes: it would hash others again, which ends a user's sessions.
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS
    processes.sandbox.reset()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        forget(client, "accounts:tries:*")
    if processes.worker.status == "exited":
        processes.worker.start()
    yield processes
    # Lanes must find nobody while pytest-django empties the tables under them.
    LogEntry.objects.all().delete()
    User.objects.all().delete()
    with database.cursor() as cursor:
        # Whoever waits for less is PostgreSQL's victim: a chore, and not the emptying.
        cursor.execute("SET deadlock_timeout = '10s'")


@pytest.fixture
def visitor(chromium: Browser, stack: Stack) -> Iterator[Visitor]:
    """A fresh browser profile. A complaint in its console fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    visitor = Visitor(page=context.new_page(), context=context, url=stack.url)

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                visitor.complaints.append(f"{page.url}: {message.text}")
                if message.type in {"error", "warning"}
                else None
            ),
        )

    listen(visitor.page)
    context.on("page", listen)
    yield visitor
    context.close()
    assert visitor.complaints == []
