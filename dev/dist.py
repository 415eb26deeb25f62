"""`make dist`: the wheel and the sdist of `spotify_auth`, in dist/."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dev.process import ROOT

DIST = ROOT / "dist"
_MADE_HERE = {"build", "dist"}


class NotBuilt(Exception):
    """The build backend failed. The message is what it printed."""


@dataclass(frozen=True, slots=True)
class Built:
    """The files that were built."""

    wheel: Path
    sdist: Path


def build(into: Path) -> Built:
    """Build both, the wheel from the sdist, as `python -m build` does.

    setuptools leaves directories beside what it builds, so the clone is shown to it by symbolic
    links. Without isolation: nothing is fetched, setuptools is one of the pinned packages.
    Raises NotBuilt.
    """
    with tempfile.TemporaryDirectory() as name:
        for each in ROOT.iterdir():
            if not each.name.startswith(".") and each.name not in _MADE_HERE:
                Path(name, each.name).symlink_to(each)
        command = ["build", "--no-isolation", "--outdir", str(into), name]
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise NotBuilt(done.stdout + done.stderr)
    (wheel,), (sdist,) = into.glob("*.whl"), into.glob("*.tar.gz")
    return Built(wheel, sdist)


def main() -> int:
    """Build into dist/, and check the text that a package index would show."""
    shutil.rmtree(DIST, ignore_errors=True)
    built = build(DIST)
    check = [sys.executable, "-m", "twine", "check", "--strict", str(built.wheel), str(built.sdist)]
    return subprocess.run(check, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
