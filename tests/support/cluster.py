"""The cluster that tests/cluster starts: its size, its tokens' lifetime, its nodes."""

import time

import psutil
from django.db import connection as database
from pytest_celery import CeleryTestNode

from tests.support.processes import LocalProcess, wait_for

LIFETIME = 12
"""Seconds that an access token of the cluster's sandbox lives."""

WORKERS, BEATS = 3, 2


def has_ended(node: CeleryTestNode) -> bool:
    return bool(node.container.status == "exited")


def sessions(worker: LocalProcess) -> list[int]:
    """The process ids of the worker's sessions on the test database."""
    ports = [socket.laddr.port for socket in psutil.Process(worker.pid).net_connections()]
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND client_port = ANY(%s)",
            [ports],
        )
        return [pid for (pid,) in cursor.fetchall()]


def kept_session(worker: LocalProcess) -> int:
    """The one that lasts: the watch on the sweeps has one for a while at each look."""
    lasting: list[int] = []

    def one_lasts() -> bool:
        before = sessions(worker)
        time.sleep(0.3)
        lasting[:] = [pid for pid in sessions(worker) if pid in before]
        return len(lasting) == 1

    wait_for(one_lasts, what="one session that lasts")
    return lasting[0]
