"""`make soak`: run the soak, which starts its own servers. Arguments go to the soak."""

import os
import signal
import sys

from dev.process import exit_code, interrupt_on, run_in_front


def main(arguments: list[str]) -> int:
    """Run the soak; 1 if it missed a goal."""
    return run_in_front([sys.executable, "-m", "benchmarks.soak", *arguments], env=os.environ)


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
