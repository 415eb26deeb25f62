"""A thread without work gives its database connection up; one with work keeps it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from config import idle_connections
from config.idle_connections import IdleConnections
from tests.support.processes import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread of a worker: everything that is submitted runs in the same one."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(lambda: connection.close()).result()


def session() -> int:
    """The session of this thread on the server."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def is_open(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])
        return bool(cursor.fetchone()[0])


def work(idle: IdleConnections) -> int:
    idle.task_begins()
    pid = session()
    idle.task_ended()
    return pid


def test_an_idle_thread_gives_its_connection_up(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_connections, "IDLE_SECONDS", 0.0)
    idle = IdleConnections()
    first = thread.submit(work, idle).result()

    assert idle.close_old() == 1

    wait_for(lambda: not is_open(first), what="the session to end")
    assert thread.submit(work, idle).result() != first  # and works again


def test_a_thread_that_was_idle_for_a_moment_keeps_it(thread: ThreadPoolExecutor) -> None:
    idle = IdleConnections()
    first = thread.submit(work, idle).result()

    assert idle.close_old() == 0

    assert thread.submit(work, idle).result() == first


def test_a_thread_at_work_keeps_it(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_connections, "IDLE_SECONDS", 0.0)
    idle = IdleConnections()
    first = thread.submit(work, idle).result()
    thread.submit(idle.task_begins).result()

    assert idle.close_old() == 0

    assert thread.submit(session).result() == first
