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

from benchmarks.soak.config import Plan, long_plan, short_plan
from dev.postgres import Postgres
from dev.process import exit_code, free_port, interrupt_on
from dev.redis import Redis
from dev.testing import DATABASE, settings_for_tests, temporary_servers
from tests.support.processes import LocalProcess
from tests.support.sandbox_client import Sandbox


def main() -> int:
    """One soak and its report; 1 if a goal was missed."""
    plan = _plan()
    print(f"seed {plan.seed}", file=sys.stderr, flush=True)
    with (
        temporary_servers() as (postgres, redis),
        Sandbox(port=free_port(), access_token_lifetime=plan.lifetime) as sandbox,
    ):
        environment = {
            **settings_for_tests(database_url=postgres.url(DATABASE), redis_url=redis.url),
            **plan.settings(),
            "SPOTIFY_ACCOUNTS_URL": sandbox.url,
            "SPOTIFY_API_URL": sandbox.url,
        }
        os.environ.clear()
        os.environ.update(environment)
        django.setup()
        return _soak(plan, postgres, redis, sandbox)


def _soak(plan: Plan, postgres: Postgres, redis: Redis, sandbox: Sandbox) -> int:
    # Only now are there settings for these.
    from django.core.management import call_command

    from benchmarks.soak.cluster import assembled
    from benchmarks.soak.monitor import Watch
    from benchmarks.soak.readers import Readers
    from benchmarks.soak.report import Report
    from benchmarks.soak.runner import Director

    logging.disable(logging.INFO)
    call_command("migrate", verbosity=0)
    with assembled(plan, postgres=postgres, redis=redis, sandbox=sandbox) as cast:
        watch = Watch(cast)
        director = Director(cast, watch)
        with Readers(cast.user_ids, threads=plan.readers, seed=plan.seed) as readers:
            director.run()
            settled = director.settle(most_seconds=plan.settle_seconds)
        report = Report(cast, director, watch, readers, settled=settled)
        for line in report.lines():
            print(line)
        met = all(goal.met for goal in report.goals())
        if not met:
            print(f"The logs of the processes: {_keep_logs(cast.processes)}")
    return 0 if met else 1


def _keep_logs(processes: Iterable[LocalProcess]) -> Path:
    """Copy the logs to a directory that outlives the run."""
    kept = Path(tempfile.mkdtemp(prefix="soak-"))
    for process in processes:
        (kept / f"{process.name}.log").write_text(process.logs())
    return kept


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--short", action="store_true", help="each failure once, as in `make test`")
    given = parser.parse_args()
    if given.short:
        return short_plan(seed=given.seed)
    return long_plan(seed=given.seed, minutes=given.minutes, users=given.users)


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
