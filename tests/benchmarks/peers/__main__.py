"""`python -m tests.benchmarks.peers [NAME…]`: the table, of all or of those named so."""

import os
import sys

from tests.benchmarks.peers.contestants import CONTESTANTS
from tests.benchmarks.peers.report import table
from tests.benchmarks.peers.scenario import EXPIRIES, LATENCY_SECONDS, TABS, USERS, measure
from tests.benchmarks.peers.site import WEB_PROCESSES, WEB_THREADS, WORKER_THREADS


def main(names: list[str]) -> None:
    """Print the settings, then a row as soon as it is measured."""
    chosen = [each for each in CONTESTANTS if not names or each.name.startswith(tuple(names))]
    print(
        f"{os.cpu_count()} cores carry everything. {USERS} users, a third of them under each "
        f"policy, {TABS} tabs each at {EXPIRIES} expiries in a row; token endpoint "
        f"{LATENCY_SECONDS:g} s; gunicorn {WEB_PROCESSES} x {WEB_THREADS} threads; "
        f"this service also has a worker of {WORKER_THREADS} threads and a beat.\n",
        flush=True,
    )
    for line in table(measure(chosen)):
        print(line, flush=True)
    print("\nLoad averages at the end:", *(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main(sys.argv[1:])
