"""`make manage ARGS="…"`: a management command against what `make run` has started."""

import os
import sys

import psutil

from dev.leftovers import MARK, marked
from dev.process import ROOT

_OWN = ("COLUMNS", "LINES", "TERM")
"""What a command takes from its own terminal, and not from that of `make run`."""


def main() -> None:
    """Become the command. Raises SystemExit with one line if `make run` is not running."""
    env = environment_of_the_run()
    command = [sys.executable, "manage.py", *sys.argv[1:]]
    os.chdir(ROOT)
    # Instead of a child: it has this terminal, its signals and its exit code.
    os.execve(command[0], command, env)  # noqa: S606


def environment_of_the_run() -> dict[str, str]:
    """The environment that `make run` has given to its processes: every port, secret and setting.

    It is taken from one of them, so it also has what only the other terminal knows, such as
    POSTGRES_PORT=… before `make run`. Raises SystemExit if there is none.
    """
    for process in marked():
        try:
            found = process.environ()
        except psutil.Error:
            continue
        if "DATABASE_URL" in found or "DATABASE_URL_FILE" in found:
            own = {name: os.environ[name] for name in _OWN if name in os.environ}
            # Without the mark: a command is no part of the run, and is not ended with it.
            return {name: found[name] for name in found if name != MARK} | own
    sys.exit("`make run` is not running in this clone: start it first, in another terminal.")


if __name__ == "__main__":
    main()
