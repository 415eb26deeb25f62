"""Memory, CPU and connections of processes, read from outside."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
from django.db import connection

from tests.support.processes import LocalProcess


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Work done in a period: pieces, wall seconds, CPU seconds of the processes."""

    done: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Pieces a second."""
        return self.done / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU seconds a piece."""
        return self.cpu_seconds / self.done


def watch(processes: Sequence[LocalProcess], count: Callable[[], int], *, seconds: float) -> Window:
    """Watch processes for a while; `count` tells how many pieces were done so far."""
    known = [psutil.Process(process.pid) for process in processes]
    done, cpu, started = count(), _cpu(known), time.perf_counter()
    time.sleep(seconds)
    return Window(
        cpu_seconds=_cpu(known) - cpu,
        done=count() - done,
        seconds=time.perf_counter() - started,
    )


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


def _cpu(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(float(each.user + each.system) for each in times)
