"""`make test`: pytest, with servers of its own. Arguments are pytest's."""

import signal
import subprocess
import sys

from local import chromium
from local.process import LOCAL, ROOT
from local.testing import temporary_services

WITH_COVERAGE = [
    "--cov",
    "--cov-report=term",
    f"--cov-report=html:{LOCAL / 'htmlcov'}",
]


def main(arguments: list[str]) -> int:
    """Run the tests; pytest's exit code."""
    browser = chromium.find_or_install()
    if "CHROMIUM_PATH" not in browser:
        reason = browser["BROWSER_TESTS_SKIPPED_BECAUSE"]
        print(f"The browser tests will be skipped: {reason}.", flush=True)
    # SIGTERM unwinds like Ctrl-C, so that the servers stop and their directory goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with temporary_services() as env:
        command = [sys.executable, "-m", "pytest", *(arguments or WITH_COVERAGE)]
        return subprocess.run(command, env={**env, **browser}, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
