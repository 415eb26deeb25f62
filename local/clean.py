"""`make clean`: remove the one directory that may lie outside the clone."""

import os
import shutil

from local.postgres import home_outside

if __name__ == "__main__":
    home = home_outside()
    # Only root's runs make it; a link of that name is a stranger's.
    if os.geteuid() == 0 and home.is_dir() and not home.is_symlink():
        shutil.rmtree(home)
