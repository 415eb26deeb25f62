"""`make clean`: remove the one directory that may lie outside the clone."""

import os
import shutil
from contextlib import suppress

from dev.lock import only_run_of_this_clone
from dev.process import OUTSIDE


def main() -> None:
    """Remove it, if this user's run made it. Raises SystemExit while `make run` is running."""
    with only_run_of_this_clone(), suppress(FileNotFoundError):
        # Only root's runs make it; a directory of another user is left alone.
        if os.lstat(OUTSIDE).st_uid == os.geteuid() == 0 and not OUTSIDE.is_symlink():
            shutil.rmtree(OUTSIDE)


if __name__ == "__main__":
    main()
