"""`make test` and `make test-fast`: run pytest with its own servers. Arguments go to pytest."""

import os
import signal
import sys
from collections.abc import Sequence

from dev import chromium
from dev.process import exit_code, interrupt_on, run_in_front
from dev.testing import temporary_services

# Two per core, since tests mostly wait; each may start a cluster or a browser. With three the
# clusters starve each other, and nothing is faster.
PROCESSES = min(2 * (os.cpu_count() or 1), 8)

EVERYTHING = ["-n", str(PROCESSES)]
FAST = [*EVERYTHING, "-m", "not browser and not cluster and not slow"]


def main(arguments: Sequence[str]) -> int:
    """Run the tests; pytest's exit code. `--fast` leaves out what needs workers or a browser."""
    browser = {} if "--fast" in arguments else chromium.find_or_install()
    if reason := browser.get("BROWSER_TESTS_SKIPPED_BECAUSE"):
        print(f"The browser tests will be skipped: {reason}.", flush=True)
    with temporary_services() as env:
        command = [sys.executable, "-m", "pytest", *pytest_arguments(arguments)]
        return run_in_front(command, env={**env, **browser})


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of pytest: the caller's; otherwise all tests, or the fast ones."""
    if "--fast" in arguments:
        return [*FAST, *(argument for argument in arguments if argument != "--fast")]
    return list(arguments) or EVERYTHING


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
