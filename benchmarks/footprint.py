"""Memory and connections of a worker that refreshes without a pause.

One worker with 100 lanes and beat. As soon as no token is due, all become due again. The
default observes the worker for 24 s, `--long` for an hour.
"""

import statistics
import time
from collections.abc import Sequence

from benchmarks.bulk_users import connect_people, make_all_due
from benchmarks.charts import Chart
from benchmarks.measurement import Row, per_second
from benchmarks.meters import other_connections, resident_mib
from benchmarks.service import environment, let_spotify_take_its_time, refreshes
from spotify_auth.models import SpotifyToken, TokenEvent
from tests.support.processes import LocalProcess, beat_process, teardown_together, worker_process
from tests.support.sandbox_client import Sandbox

TITLE = "Memory and connections"
PEOPLE = 5000
LANES = 100
WARM_UP_SECONDS = 12
SECONDS, LONG_SECONDS = 24, 3600
SPARE_CONNECTIONS = 4
MOST_MB = 150
"""Of a million bytes."""
_MB_A_MIB = 2**20 / 10**6
MOST_GROWTH = 0.03
"""Of the second half over the first."""


def run(*, long: bool) -> list[Row]:
    """Look at the worker once a second."""
    with Sandbox(access_token_lifetime=3600) as sandbox:
        connect_people(sandbox, PEOPLE)
        let_spotify_take_its_time(sandbox)
        env = environment(sandbox, lanes=LANES, REFRESH_SWEEP_SECONDS="1")
        worker = worker_process("worker", env=env, concurrency=LANES)
        processes = [worker, beat_process("beat", env=env)]
        try:
            worker.ready()
            _watch(worker, seconds=WARM_UP_SECONDS)
            before = refreshes(sandbox)
            memory, connections = _watch(worker, seconds=LONG_SECONDS if long else SECONDS)
            done = refreshes(sandbox) - before
        finally:
            teardown_together(processes)
    SpotifyToken.objects.all().delete()
    TokenEvent.objects.all().delete()
    return _rows(memory, connections, rate=done / len(memory))


def _watch(worker: LocalProcess, *, seconds: int) -> tuple[list[float], list[int]]:
    """MB and connections at each second."""
    memory, connections = [], []
    next_look = time.monotonic()
    for second in range(seconds):
        if second % 10 == 0:
            make_all_due()
        next_look += 1
        time.sleep(max(0.0, next_look - time.monotonic()))
        memory.append(resident_mib(worker) * _MB_A_MIB)
        connections.append(other_connections())
    return memory, connections


def _rows(memory: Sequence[float], connections: Sequence[int], *, rate: float) -> list[Row]:
    half = len(memory) // 2
    first, second = statistics.mean(memory[:half]), statistics.mean(memory[half:])
    every = max(1, len(memory) // 120)
    return [
        Row(
            what=f"memory of a worker with {LANES} lanes, {len(memory)} s",
            target=f"under {MOST_MB} MB",
            figure=f"{max(memory):.0f} MB",
            floor=f"at {per_second(rate)}",
            met=max(memory) < MOST_MB,
            chart=Chart(
                name="memory",
                title=f"Resident memory of a worker with {LANES} lanes at full work",
                unit="MB",
                kind="lines",
                x_name="seconds",
                labels=[str(second) for second in range(0, len(memory), every)],
                series={"worker": memory[::every]},
                limit=MOST_MB,
                limit_name="target",
            ),
        ),
        Row(
            what="growth, second half over first",
            target=f"at most {MOST_GROWTH:.0%}",
            figure=f"{second / first - 1:+.1%}",
            floor=f"{first:.1f} MB",
            met=second / first - 1 <= MOST_GROWTH,
        ),
        Row(
            what="connections to PostgreSQL, one worker",
            target=f"at most lanes + {SPARE_CONNECTIONS}",
            figure=str(max(connections)),
            floor=f"{LANES} lanes",
            met=max(connections) <= LANES + SPARE_CONNECTIONS,
        ),
    ]
