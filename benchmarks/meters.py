"""Memory, CPU and connections of processes, read from outside."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil
import redis
from django.conf import settings
from django.db import connection

from tests.support.processes import LocalProcess

Processes = Callable[[], Iterable[psutil.Process]]
"""Those that there are at this moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Work done in a period: pieces, wall seconds, CPU seconds of the processes."""

    done: int
    seconds: float
    cpu_seconds: float
    others: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds of other processes, by their name."""

    @property
    def rate(self) -> float:
        """Pieces a second."""
        return self.done / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU seconds a piece."""
        return self.cpu_seconds / self.done


def watch(
    processes: Sequence[LocalProcess],
    count: Callable[[], int],
    *,
    seconds: float,
    others: Mapping[str, Processes] | None = None,
) -> Window:
    """Watch processes for a while; `count` tells how many pieces were done so far."""
    known = [psutil.Process(process.pid) for process in processes]
    groups: dict[str, Processes] = {"": lambda: known, **(others or {})}
    before = {name: _cpu(group()) for name, group in groups.items()}
    done, started = count(), time.perf_counter()
    time.sleep(seconds)
    cpu = {name: _more(_cpu(group()), before[name]) for name, group in groups.items()}
    return Window(
        cpu_seconds=cpu.pop(""),
        done=count() - done,
        seconds=time.perf_counter() - started,
        others=cpu,
    )


def postgresql() -> list[psutil.Process]:
    """The server of this database, with all its sessions and helpers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0]).parent()
    assert server
    return [server, *server.children(recursive=True)]


def redis_server() -> list[psutil.Process]:
    """The server of the cool-downs, marks and queues."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        return [psutil.Process(client.info("server")["process_id"])]


def resident_mib(process: LocalProcess) -> float:
    """Memory that a process holds."""
    return float(psutil.Process(process.pid).memory_info().rss) / 2**20


def other_connections() -> int:
    """Sessions of this database but this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def _cpu(processes: Iterable[psutil.Process]) -> dict[int, float]:
    """CPU seconds of each so far, by its process id."""
    seconds = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # a session that has just ended
            continue
        seconds[process.pid] = float(times.user + times.system)
    return seconds


def _more(after: Mapping[int, float], before: Mapping[int, float]) -> float:
    """CPU seconds between; those of a process that has ended meanwhile are not known."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
