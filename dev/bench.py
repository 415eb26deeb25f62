"""`make bench`: run the benchmarks with their own servers. Arguments go to them."""

import signal
import sys

from dev.process import exit_code, interrupt_on, run_in_front
from dev.testing import temporary_services


def main(arguments: list[str]) -> int:
    """Run the benchmarks; their exit code."""
    with temporary_services(durable=True) as env:
        return run_in_front([sys.executable, "-m", "benchmarks", *arguments], env=env)


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
