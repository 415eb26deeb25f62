"""The service under uvicorn: its pages, async views, and what becomes of their connections."""

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
from django.conf import settings
from django.db import connection as database
from django.test import Client

from accounts.models import User
from dev.process import free_port
from spotify_auth.models import LastSeen
from tests.support.lanes import refresh_next
from tests.support.processes import LocalProcess, service_environment, wait_for
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, make_due, token_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("uvicorn"),
]

POOL = 2
READERS = 50


class Site:
    """A running uvicorn."""

    def __init__(self, process: LocalProcess, port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, client: Client | None = None, **headers: str) -> requests.Response:
        """What a browser is answered, logged in as the client is."""
        cookies = {name: morsel.value for name, morsel in client.cookies.items()} if client else {}
        return requests.get(
            self.url + path, headers=headers, cookies=cookies, timeout=20, allow_redirects=False
        )

    def sessions(self) -> int:
        """How many sessions this process has at PostgreSQL."""
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
                [f"asgi-{self.port}"],
            )
            count: int = cursor.fetchone()[0]
        return count


@contextmanager
def serving(sandbox: Sandbox, **overrides: str) -> Iterator[Site]:
    port = free_port()
    env = service_environment(
        spotify_url=sandbox.url,
        redis_url=settings.REDIS_URL,
        **{
            "ASGI_POOL_SIZE": str(POOL),
            "PGAPPNAME": f"asgi-{port}",
            "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{port}/spotify/callback/",
            **overrides,
        },
    )
    process = LocalProcess(
        "uvicorn",
        [
            *(sys.executable, "-m", "uvicorn", "tests.support.async_site:application"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        env=env,
        ready_when="running on",
    )
    try:
        process.ready()
        yield Site(process, port)
    finally:
        process.teardown()


@pytest.fixture(scope="module")
def site(sandbox_process: Sandbox, django_db_setup: None) -> Iterator[Site]:
    with serving(sandbox_process) as site:
        yield site


@pytest.fixture
def user(connect: Connect, client: Client) -> User:
    user = connect(due=False)
    client.force_login(user)
    return user


def test_pages_sync_and_async_are_served_and_the_user_is_seen(
    site: Site, user: User, client: Client
) -> None:
    account_id = user.account_id

    assert site.get("/livez").text == site.get("/readyz?exclude=sweep").text == "ok\n"
    assert "<html" in site.get("/").text
    assert site.get("/async/calls/", client).json() == {"me": account_id}
    assert "<html" in site.get("/async/page/", client).text
    assert LastSeen.objects.filter(pk=user.pk).exists()
    make_due(user, expired=True)
    stale = site.get("/async/calls/", client, accept="application/json")
    assert (stale.status_code, stale.json()["code"]) == (503, "reconnecting")


def test_the_query_of_the_callback_is_in_no_line_of_the_log(site: Site) -> None:
    answer = site.get("/spotify/callback/?code=a-code-of-a-login&state=a-state-of-a-login")

    assert answer.status_code in {200, 302, 400}  # the view has read it: no such login was begun
    wait_for(lambda: "/spotify/callback/" in site.process.logs(), what="its line")
    assert "-of-a-login" not in site.process.logs()


def test_fifty_readers_at_once_share_the_pool(site: Site, user: User) -> None:
    with ThreadPoolExecutor(READERS) as readers:
        answers = list(readers.map(site.get, [f"/async/read/{user.pk}/"] * READERS))

    assert [answer.json() for answer in answers] == [{"generation": 1}] * READERS
    assert 1 <= site.sessions() <= POOL


def test_rotations_under_a_running_session_cost_no_call(
    site: Site, user: User, client: Client, spotify: Sandbox
) -> None:
    spotify.faults("old_access_token_dies")
    rotated_at = 0

    def calls() -> int:
        return int(spotify.summary()["totals"]["web_api_calls"])

    with ThreadPoolExecutor(1) as visitor:
        visit = visitor.submit(site.get, "/async/session/", client)
        while not visit.done():
            # Five at once, and each once more at most: no token is replaced twice under a call.
            if calls() > rotated_at + 10:
                make_due(user)
                refresh_next()
                rotated_at = calls()

    assert visit.result().json() == {"statuses": [200] * 50}
    assert token_of(user).generation > 1


def test_visitors_who_leave_take_no_connection_with_them(site: Site, user: User) -> None:
    for _ in range(2 * POOL):
        with socket.create_connection(("127.0.0.1", site.port)) as visitor:
            visitor.sendall(
                f"GET /async/waits/{user.pk}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            )
            visitor.settimeout(0.3)
            with pytest.raises(TimeoutError):
                visitor.recv(1)  # it has read its token, and waits

    assert site.get(f"/async/read/{user.pk}/").json() == {"generation": 1}
    assert site.sessions() <= POOL


def test_a_connection_to_a_former_primary_does_not_go_back_to_the_pool(
    site: Site, user: User
) -> None:
    make_due(user, expired=True)
    for _ in range(2 * POOL):
        assert site.get(f"/async/demoted/{user.pk}/").json() == {"changed": False}

    assert site.get(f"/async/nudged/{user.pk}/").json() == {"changed": True}


def test_without_a_database_an_async_view_answers_as_a_sync_one(
    spotify: Sandbox, user: User, client: Client
) -> None:
    away = f"postgres://nobody:pw@127.0.0.1:{free_port()}/none"
    with serving(spotify, DATABASE_URL=away) as site, ThreadPoolExecutor(4) as visitors:
        pages = ["/async/calls/", "/api/dashboard-data", "/async/calls/", "/dashboard/"]
        kinds = ["application/json"] * 2 + ["text/html"] * 2
        answers = list(
            visitors.map(lambda page, kind: site.get(page, client, accept=kind), pages, kinds)
        )

    assert [answer.status_code for answer in answers] == [503] * 4
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["code"] == "database_away"
