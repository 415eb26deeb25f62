"""`make test`: pytest, with servers of its own. Arguments are pytest's."""

import os
import signal
import sys

from dev import chromium
from dev.process import exit_code, interrupt_on, run_in_front
from dev.testing import temporary_services

# Two a core, since tests mostly wait; each may have a cluster or a browser of its own.
PROCESSES = min(2 * (os.cpu_count() or 1), 8)

EVERYTHING = ["-n", str(PROCESSES)]


def main(arguments: list[str]) -> int:
    """Run the tests; pytest's exit code."""
    browser = chromium.find_or_install()
    if "CHROMIUM_PATH" not in browser:
        reason = browser["BROWSER_TESTS_SKIPPED_BECAUSE"]
        print(f"The browser tests will be skipped: {reason}.", flush=True)
    with temporary_services() as env:
        command = [sys.executable, "-m", "pytest", *(arguments or EVERYTHING)]
        return run_in_front(command, env={**env, **browser})


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
