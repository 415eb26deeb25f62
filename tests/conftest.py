"""Fixtures that several rooms share: the sandbox Spotify, and people connected to it."""

import gc
import logging
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import execnet
import pytest
from celery import Celery
from csp.constants import SELF
from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection as database
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from django.db.models.functions import Now
from django.test import RequestFactory, TransactionTestCase, override_settings
from pytest_django import DjangoDbBlocker, Settings
from whitenoise.base import WhiteNoise

from accounts.models import User
from accounts.users import user_for_account
from config.outage_lines import OneLineAnOutage
from dev.process import free_port
from spotify_auth import connections, tokens
from spotify_auth.lasting import Lasting
from spotify_auth.models import SpotifyToken
from spotify_auth.sandbox.worlds import World
from spotify_auth.testing import state
from tests.support import warm_python
from tests.support.admin import QUICK
from tests.support.processes import forget_those_that_ended, last_words
from tests.support.sandbox_client import Sandbox
from tests.support.tokens import Connect, Elsewhere, grant_of, make_due

LAST_LINES = 60


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect the static files: pages are tested with them as they are deployed.

    Once, before any process of pytest-xdist starts: they would write the same files.
    """
    if not hasattr(session.config, "workerinput"):
        call_command("collectstatic", interactive=False, verbosity=0)


def pytest_xdist_newgateway(gateway: execnet.Gateway) -> None:
    """Give each process of pytest-xdist a Redis database of its own, before it reads settings.

    pytest-django does the same for PostgreSQL.
    """
    number = gateway.id.removeprefix("gw")
    url = urlsplit(settings.REDIS_URL)._replace(path=f"/{number}").geturl()
    channel = gateway.remote_exec("import os; os.environ['REDIS_URL'] = channel.receive()")
    channel.send(url)
    channel.waitclose()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long tests first, so that no process is left alone with one at the end.

    The order is random within each part.
    """
    for item in items:
        _keep_with_its_group(item)
    items.sort(key=_place_in_the_queue)


def pytest_collection_finish() -> None:
    """Leave what was collected out of the garbage collector's full rounds.

    Each of them looked at four thousand tests, in 0.4 s: a sixth of the time of a test process.
    """
    gc.collect()
    gc.freeze()


def _keep_with_its_group(item: pytest.Item) -> None:
    """Let pytest-xdist see the group that it has written into the old place of the id.

    Without this every process sets up the stack of every group
    (https://github.com/pytest-dev/pytest-xdist/issues/1386, pytest 9.2 with xdist 3.8).
    """
    if with_group := getattr(item, "_nodeid", None):
        item._id = type(item._id).parse(with_group)


def _place_in_the_queue(item: pytest.Item) -> int:
    # The browser's modules stay whole, so that one of them is the longest piece of all.
    marks = {"browser": 0, "cluster": 1, "slow": 2}
    return min((marks[mark.name] for mark in item.iter_markers() if mark.name in marks), default=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """A failed test shows what the processes of the service have said last."""
    report = yield
    if report.failed:
        report.sections += [(f"Log of {name}", text) for name, text in last_words(LAST_LINES)]
    return report


@pytest.fixture(autouse=True)
def _processes_of_this_test() -> None:
    forget_those_that_ended()


@pytest.fixture(scope="session", autouse=True)
def no_session_outlives_the_tests(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Name those that do: the test database could not be dropped, and nobody would know why.

    A worker that was killed in the middle of a statement leaves its backend for a moment.
    """
    yield
    if not database.settings_dict["NAME"].startswith(TEST_DATABASE_PREFIX):
        return  # no test that was chosen asked for a test database
    with django_db_blocker.unblock():
        give_up = time.monotonic() + 15
        while (left := _other_sessions()) and time.monotonic() < give_up:
            time.sleep(0.1)
    assert left == []


def _other_sessions() -> list[tuple[object, ...]]:
    with database.cursor() as cursor:
        cursor.execute(
            """
            SELECT pid, client_port, state, backend_start, left(query, 100) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
              AND backend_type = 'client backend'
            """
        )
        sessions: list[tuple[object, ...]] = cursor.fetchall()
    return sessions


@pytest.fixture(autouse=True, scope="session")
def libraries_are_imported_once() -> Iterator[None]:
    """The service's processes are forks of one interpreter, which has imported no code of ours."""
    with warm_python.shared():
        yield


@pytest.fixture(autouse=True, scope="session")
def static_files_are_found_once() -> Iterator[None]:
    """Each of Django's test clients starts the middleware, which looks at every file."""
    find, found = WhiteNoise.update_files_dictionary, {}

    def find_once(self: WhiteNoise, root: str, prefix: str) -> None:
        if (root, prefix) not in found:
            find(self, root, prefix)
            found[root, prefix] = dict(self.files)
        self.files.update(found[root, prefix])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoise, "update_files_dictionary", find_once)
        yield


@pytest.fixture(autouse=True, scope="session")
def permissions_outlive_the_tests() -> Iterator[None]:
    """Django empties all tables after a test with transactions, and makes each permission again.

    That is a seventh of the time of the quick tests.
    """

    def empty_the_tables(self: TransactionTestCase) -> None:
        names = database.introspection.django_table_names(only_existing=True, include_views=False)
        kept = {ContentType._meta.db_table, Permission._meta.db_table}
        emptied = database.ops.sql_flush(no_style(), sorted({*names} - kept))
        database.ops.execute_sql_flush(emptied)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_the_tables)
        yield


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    """One sandbox for the whole run: it starts clean for each test that uses `spotify`."""
    sandbox = Sandbox()
    yield sandbox
    sandbox.stop()


@pytest.fixture(autouse=True, scope="session")
def browsers_come_to_the_address_of_the_site() -> Iterator[None]:
    """Not to Django's "testserver": visitors of another host are redirected."""
    environ: Callable[..., dict[str, Any]] = RequestFactory._base_environ  # type: ignore[attr-defined]

    def at_home(self: RequestFactory, **request: Any) -> dict[str, Any]:
        return environ(self, **{"SERVER_NAME": "127.0.0.1", **request})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RequestFactory, "_base_environ", at_home)
        yield


@pytest.fixture(autouse=True, scope="session")
def passwords_are_hashed_quickly() -> Iterator[None]:
    """A real hash costs a quarter of a second, for an administrator made and for each try."""
    with override_settings(PASSWORD_HASHERS=[QUICK]):
        yield


@pytest.fixture(autouse=True)
def no_line_of_an_earlier_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which lines of the log were shown: each is repeated once a minute only, or never."""
    monkeypatch.setattr(tokens, "_no_broker", Lasting())
    for logger in list(logging.root.manager.loggerDict.values()):
        for each in getattr(logger, "filters", ()):
            if isinstance(each, OneLineAnOutage):
                each._shown.clear()


@pytest.fixture
def no_cooldown() -> Iterator[None]:
    """Forget the pauses and marks of earlier tests, and leave none to later ones."""
    url = settings.REDIS_URL  # a test may change it
    state.forget(url)
    yield
    state.forget(url)


@pytest.fixture
def spotify_world() -> World:
    """The world of the sandbox: here the harder one. The tests of the write side run in both."""
    return World.ROTATING


@pytest.fixture
def spotify(
    sandbox_process: Sandbox, settings: Settings, no_cooldown: None, spotify_world: World
) -> Sandbox:
    """A clean sandbox without a cool-down, and the settings pointing at it."""
    sandbox_process.reset(spotify_world)
    settings.SPOTIFY_ACCOUNTS_URL = settings.SPOTIFY_API_URL = sandbox_process.url
    policy = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    directives = {**policy, "img-src": [SELF, sandbox_process.url]}
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": directives}
    return sandbox_process


@pytest.fixture
def connect(db: None, spotify: Sandbox) -> Connect:
    """Connect a sandbox user, as a log-in would; by default the token is due at once."""

    def connect_user(
        persona: str = "user-1", *, due: bool = True, scope: str = "user-top-read"
    ) -> User:
        answer = spotify.connect([persona], scope=scope)[persona]
        user = user_for_account(account_id=answer["account_id"], display_name=persona)
        connections.connect(
            user_id=user.pk,
            account_id=answer["account_id"],
            grant=grant_of(answer),
            issued_at=connections.database_now(),
        )
        # Refreshed a while ago, as a page finds it.
        SpotifyToken.objects.filter(pk=user.pk).update(refreshed_at=Now() - timedelta(seconds=30))
        if due:
            make_due(user)
        return user

    return connect_user


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Run a function in another thread, on a database connection of its own."""

    def run(function: Callable[..., object], *args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        finally:
            database.close()

    with ThreadPoolExecutor(16) as pool:
        yield lambda function, *args, **kwargs: pool.submit(run, function, *args, **kwargs)


@pytest.fixture
def lost_broker() -> Celery:
    """Our Celery application, with a broker that is away."""
    lost = Celery("lost", set_as_current=False)
    lost.config_from_object(settings, namespace="CELERY")
    lost.conf.update(broker_url=f"redis://127.0.0.1:{free_port()}/0")
    return lost
