"""Processes of the previous version beside those of this version, on this version's tables.

`previous.zip` is the code of the version before the newest migration (CONTRIBUTING.md says how
it is made), so that a rolling upgrade is tested with what really runs beside the new workers.
"""

import zipfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection as database
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from pytest_celery import CeleryTestSetup, CeleryTestWorker, CeleryWorkerCluster

from accounts.models import User
from dev.process import free_port
from spotify_auth.models import LastSeen, Outcome, SpotifyToken, TokenEvent
from tests.support.processes import (
    beat_process,
    teardown_together,
    wait_for,
    web_process,
    worker_process,
)
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import account_of, connect_users, token_of

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

USERS = 24
THREADS = 3
LIFETIME = 600


@pytest.fixture
def lifetime() -> int:
    """Long enough that nothing is refreshed but what a test makes due."""
    return LIFETIME


def unpack_previous(home: Path) -> None:
    with zipfile.ZipFile(Path(__file__).with_name("previous.zip")) as previous:
        previous.extractall(home)


@pytest.fixture
def celery_worker_cluster(
    service_env: dict[str, str], tmp_path: Path
) -> Iterator[CeleryWorkerCluster]:
    """One worker of each version, with few threads, so that both have work; one beat."""
    unpack_previous(tmp_path)
    processes = [
        worker_process("previous", env=service_env, concurrency=THREADS, cwd=tmp_path),
        worker_process("present", env=service_env, concurrency=THREADS),
        beat_process("beat", env=service_env),
    ]
    cluster = CeleryWorkerCluster(*(CeleryTestWorker(process, app=None) for process in processes))
    try:
        cluster.ready()
        yield cluster
    finally:
        teardown_together(node.container for node in cluster)


def test_both_versions_refresh_the_same_rows(
    celery_setup: CeleryTestSetup, fast_sandbox: Sandbox
) -> None:
    users = connect_users(fast_sandbox, count=USERS)
    # In the second round each row may meet the other version's handwriting.
    for generation in (1, 2):
        stale = SpotifyToken.objects.filter(generation=generation)
        fast_sandbox.faults("hold")
        stale.update(due_at=Now())
        # All threads of both workers are at it: neither leaves everything to the other.
        full = partial(are_held, fast_sandbox, 2 * THREADS)
        wait_for(full, what="both workers to be busy")
        fast_sandbox.clear()
        wait_for(partial(is_empty, stale), what="a refresh of each token")
    waits = SpotifyToken.objects.values_list(F("due_at") - F("refreshed_at"), flat=True)
    least, most = timedelta(seconds=0.69 * LIFETIME), timedelta(seconds=0.81 * LIFETIME)
    assert all(least <= each <= most for each in waits)

    events = TokenEvent.objects.filter(outcome=Outcome.REFRESHED)
    assert events.values("worker").distinct().count() == 2
    generations = defaultdict(list)
    for event in events.order_by("id"):
        generations[event.user_id].append((event.generation_before, event.generation_after))
    for steps in generations.values():
        assert all(after == before for (_, after), (before, _) in pairwise(steps))
    stats = fast_sandbox.stats()
    assert stats["totals"]["reuses_of_dead_token"] == 0
    assert {user["in_flight_max"] for user in stats["users"].values()} == {1}
    for user in users:
        assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id


def are_held(sandbox: Sandbox, count: int) -> bool:
    return bool(sandbox.stats()["held"] == count)


def is_empty(tokens: QuerySet[SpotifyToken]) -> bool:
    return not tokens.exists()


@pytest.mark.parametrize("lifetime", [3600])  # all migrations, there and back, on a busy machine
def test_the_migrations_can_be_taken_back_without_losing_a_token(
    fast_sandbox: Sandbox, transactional_db: None
) -> None:
    (user,) = connect_users(fast_sandbox, count=1)
    with database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO spotify_auth_routineevent (user_id, rotated) VALUES (%s, true)", [user.pk]
        )
        cursor.execute(
            "INSERT INTO spotify_auth_foldedevent (id, user_id, rotated, began_at, refreshes) "
            "VALUES (1000000, %s, true, now(), '{0, 1}')",
            [user.pk],
        )
    try:
        call_command("migrate", "spotify_auth", "0001", verbosity=0)
        with database.cursor() as cursor:
            cursor.execute("SELECT outcome FROM spotify_auth_tokenevent ORDER BY outcome")
            assert cursor.fetchall() == [("connected",), ("refreshed",), ("refreshed",)]
            cursor.execute("SELECT generation FROM spotify_auth_spotifytoken")
            assert cursor.fetchall() == [(1,)]
    finally:
        call_command("migrate", verbosity=0)  # those of accounts were taken back too
    assert account_of(fast_sandbox, token_of(user).access_token) == user.account_id


class Browser:
    """Somebody's browser, who comes to a site of either version."""

    # What a page's form would hold: the cookie and the header must agree.
    _csrf = "c" * 32

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set("csrftoken", self._csrf)

    def log_in(self, site: str, persona: str) -> None:
        """Through Spotify and back, as the login button does."""
        answer = self.come_back(site, self.leave(site, persona))
        assert (answer.status_code, answer.headers["Location"]) == (302, "/dashboard/")

    def leave(self, site: str, persona: str) -> str:
        """Press the button and agree at Spotify; where that sends the browser back to."""
        sent = self._session.post(
            f"{site}/spotify/login/",
            headers={"X-CSRFToken": self._csrf},
            allow_redirects=False,
            timeout=20,
        )
        assert sent.status_code == 302, sent.text
        parameters = dict(parse_qsl(urlsplit(sent.headers["Location"]).query))
        return self._sandbox.authorize(parameters, persona)

    def come_back(self, site: str, address: str) -> requests.Response:
        """What the site of this version answers to the browser that comes back."""
        back = urlsplit(address)
        return self._session.get(
            f"{site}{back.path}?{back.query}", allow_redirects=False, timeout=20
        )

    @property
    def session_key(self) -> str:
        """What the session's cookie holds."""
        return str(self._session.cookies["sessionid"])

    def is_known(self, site: str) -> bool:
        """Whether a page that is for users only is shown."""
        answer = self._session.get(f"{site}/api/dashboard-data", timeout=20)
        return answer.status_code == 200

    def visit(self, site: str) -> None:
        """See a page that is for users only."""
        answer = self._session.get(f"{site}/api/dashboard-data", timeout=20)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def sites(service_env: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The addresses of a web process of each version."""
    unpack_previous(tmp_path)
    homes = {"previous": {"cwd": tmp_path}, "present": {}}
    ports = {version: str(free_port()) for version in homes}
    processes = [
        web_process(
            version,
            env={
                **service_env,
                "HOST": "127.0.0.1",
                "PORT": ports[version],
                "WEB_CONCURRENCY": "1",
            },
            **where,
        )
        for version, where in homes.items()
    ]
    try:
        for process in processes:
            process.ready()
        yield {version: f"http://127.0.0.1:{port}" for version, port in ports.items()}
    finally:
        teardown_together(processes)


@pytest.mark.parametrize("first", ["previous", "present"])
def test_a_user_of_one_version_is_found_by_the_other(
    sites: dict[str, str], fast_sandbox: Sandbox, first: str
) -> None:
    second = "present" if first == "previous" else "previous"

    Browser(fast_sandbox).log_in(sites[first], "user-1")
    user = User.objects.get()
    Browser(fast_sandbox).log_in(sites[second], "user-1")
    Browser(fast_sandbox).log_in(sites["present"], "user-1")

    assert User.objects.get() == user
    token = token_of(user)
    assert token.generation == 3
    account_id = fast_sandbox.stats("user-1")["account_id"]
    assert (token.account_id, user.account_id) == (account_id, account_id)


def test_a_login_that_the_previous_version_began_is_completed(
    sites: dict[str, str], fast_sandbox: Sandbox
) -> None:
    browser = Browser(fast_sandbox)

    answer = browser.come_back(sites["present"], browser.leave(sites["previous"], "user-1"))

    assert (answer.status_code, answer.headers["Location"]) == (302, "/dashboard/")
    assert token_of(User.objects.get()).status == SpotifyToken.Status.ACTIVE


def test_a_login_that_the_previous_version_cannot_complete_changes_nothing(
    sites: dict[str, str], fast_sandbox: Sandbox
) -> None:
    browser = Browser(fast_sandbox)

    answer = browser.come_back(sites["previous"], browser.leave(sites["present"], "user-1"))

    # Its page has words; the templates are not in previous.zip.
    assert answer.status_code >= 400
    assert not User.objects.exists()
    assert fast_sandbox.stats()["totals"]["logins"] == 0
    browser.log_in(sites["present"], "user-1")


@pytest.mark.parametrize("version", ["previous", "present"])
def test_a_visit_to_one_version_is_seen_by_the_workers_of_both(
    sites: dict[str, str], fast_sandbox: Sandbox, version: str
) -> None:
    browser = Browser(fast_sandbox)
    # At the other one: a process remembers for a day whom it has seen.
    browser.log_in(sites["present" if version == "previous" else "previous"], "user-1")
    # As the previous version stores it: it finds no session that this one began.
    Session.objects.update(session_key=browser.session_key)
    long_ago = Now() - timedelta(days=40)
    User.objects.update(seen_at=long_ago)
    LastSeen.objects.update(seen_at=long_ago)

    browser.visit(sites[version])

    lately = Now() - timedelta(minutes=1)
    assert User.objects.filter(seen_at__gt=lately).exists()
    assert LastSeen.objects.filter(seen_at__gt=lately).exists()


def test_the_upgrade_logs_nobody_out(sites: dict[str, str], fast_sandbox: Sandbox) -> None:
    before, meanwhile = Browser(fast_sandbox), Browser(fast_sandbox)
    before.log_in(sites["previous"], "user-1")
    meanwhile.log_in(sites["present"], "user-2")

    assert [before.is_known(sites[v]) for v in ("present", "previous", "present")] == [True] * 3
    # The previous version asks who logged in at this one to log in, and takes no cookie away.
    assert not meanwhile.is_known(sites["previous"])
    assert meanwhile.is_known(sites["present"])
