"""`make bench`: the benchmarks, with servers of their own. Arguments are theirs."""

import subprocess
import sys

from local.process import ROOT
from local.testing import temporary_services


def main(arguments: list[str]) -> int:
    """Run the benchmarks; their exit code."""
    with temporary_services() as env:
        command = [sys.executable, "-m", "tests.benchmarks", *arguments]
        return subprocess.run(command, env=env, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
