"""`make soak`: everything is killed, cut and frozen under load: docs/explanation/failures.md."""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import django

from benchmarks.soak.config import Config, long_config, short_config
from dev.postgres import Postgres
from dev.process import exit_code, free_port, interrupt_on
from dev.redis import Redis
from dev.testing import DATABASE, settings_for_tests, temporary_servers
from spotify_auth.sandbox.worlds import World
from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox


def main() -> int:
    """One soak and its report; 1 if a goal was missed."""
    config = _config()
    print(f"seed {config.seed}", file=sys.stderr, flush=True)
    with (
        temporary_servers() as (postgres, redis),
        Sandbox(
            port=free_port(), access_token_lifetime=config.lifetime, world=config.world
        ) as sandbox,
    ):
        environment = {
            **settings_for_tests(database_url=postgres.url(DATABASE), redis_url=redis.url),
            **config.settings(),
            "SPOTIFY_ACCOUNTS_URL": sandbox.url,
            "SPOTIFY_API_URL": sandbox.url,
        }
        os.environ.clear()
        os.environ.update(environment)
        django.setup()
        return _soak(config, postgres, redis, sandbox)


def _soak(config: Config, postgres: Postgres, redis: Redis, sandbox: Sandbox) -> int:
    # Only now are there settings for these.
    from django.core.management import call_command

    from benchmarks.soak.alarms import drill
    from benchmarks.soak.cluster import assembled
    from benchmarks.soak.monitor import Monitor
    from benchmarks.soak.readers import Readers
    from benchmarks.soak.report import Report
    from benchmarks.soak.runner import Runner

    logging.disable(logging.INFO)
    call_command("migrate", verbosity=0)
    with assembled(config, postgres=postgres, redis=redis, sandbox=sandbox) as cluster:
        monitor = Monitor(cluster)
        runner = Runner(cluster, monitor)
        with Readers(cluster.user_ids, threads=config.readers, seed=config.seed) as readers:
            runner.run()
            settled = runner.settle(most_seconds=config.settle_seconds)
        report = Report(cluster, runner, monitor, readers, settled=settled)
        for line in report.lines():
            print(line)
        met = all(goal.met for goal in report.goals())
        if config.seconds is not None:
            for drilled in drill(cluster):
                alerts = ", ".join(drilled.fired) or "no alert"
                print(f"{'ok    ' if drilled.met else 'MISSED'}  {drilled.name}: {alerts}")
                met &= drilled.met
        if not met:
            print(f"The logs of the processes: {_keep_logs(cluster.processes)}")
    return 0 if met else 1


def _keep_logs(processes: Iterable[LocalProcess]) -> Path:
    """Copy the logs to a directory that outlives the run."""
    kept = Path(tempfile.mkdtemp(prefix="soak-"))
    for process in processes:
        (kept / f"{process.name}.log").write_text(process.logs())
    return kept


def _config() -> Config:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--world", type=World, choices=list(World), default=World.ROTATING)
    parser.add_argument("--short", action="store_true", help="each failure once, as in `make test`")
    given = parser.parse_args()
    if given.short:
        return short_config(seed=given.seed, world=given.world)
    return long_config(seed=given.seed, world=given.world, minutes=given.minutes, users=given.users)


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
