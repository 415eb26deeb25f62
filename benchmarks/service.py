"""The processes of the service, for one benchmark: workers as the Procfile starts them."""

from collections.abc import Iterator
from contextlib import contextmanager

from celery import current_app
from django.conf import settings

from tests.support.processes import (
    LocalProcess,
    service_environment,
    teardown_together,
    wait_for,
    worker_process,
)
from tests.support.sandbox_client import Sandbox

LATENCY_SECONDS = 0.2
"""How long the token endpoint takes, in the mean."""
JITTER = 0.5
"""The share by which that varies: with a constant latency all lanes would march in step."""


def let_spotify_take_its_time(sandbox: Sandbox) -> None:
    """From now on, an exchange takes as long as it may over the Internet."""
    sandbox.faults("latency", seconds=LATENCY_SECONDS, jitter=JITTER)


def environment(sandbox: Sandbox, *, lanes: int, **overrides: str) -> dict[str, str]:
    """The settings of the service's processes; a sweep opens at most `lanes` lanes."""
    return service_environment(
        spotify_url=sandbox.url,
        redis_url=settings.REDIS_URL,
        REFRESH_LANES=str(lanes),
        **overrides,
    )


@contextmanager
def workers(
    sandbox: Sandbox, *, lanes: int, processes: int = 1, **overrides: str
) -> Iterator[list[LocalProcess]]:
    """Worker processes with this number of lanes in all, ready and without work."""
    env = environment(sandbox, lanes=lanes, **overrides)
    # The banner, where the log does not hold the line that says so.
    ready_when = "[queues]" if env.get("LOG_LEVEL") == "WARNING" else "ready."
    running: list[LocalProcess] = []
    try:
        for n in range(processes):
            concurrency = lanes // processes
            running.append(
                worker_process(
                    f"worker{n}", env=env, concurrency=concurrency, ready_when=ready_when
                )
            )
        for worker in running:
            worker.ready()
        yield running
    finally:
        teardown_together(running)


def refreshes(sandbox: Sandbox) -> int:
    """How many refreshes the sandbox has granted so far."""
    return int(sandbox.summary()["totals"]["refreshes"])


def sweep() -> None:
    """As beat does: tell a worker to open lanes for the due tokens."""
    current_app.send_task("spotify_auth.sweep")


def wait_until_idle(sandbox: Sandbox) -> None:
    """Wait until no exchange has been in progress for a short time."""
    seen = -1

    def nothing_moves() -> bool:
        nonlocal seen
        stats = sandbox.summary()
        before, seen = seen, int(stats["totals"]["refreshes_attempted"])
        return not stats["in_flight"] and before == seen

    wait_for(nothing_moves, what="the lanes to end")
