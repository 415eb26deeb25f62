"""`make test-matrix`: the wheel in a project of somebody else's, with each Python and Django.

Every cell is a fresh environment with the wheel and what its requirements bring. The tests of
tests/standalone run a project in it: migrations, a web server, a worker, a beat and the sandbox,
from the installed wheel. The tests themselves run in this clone's Python.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dev import dist
from dev.process import ROOT, exit_code, interrupt_on, run_in_front
from dev.testing import temporary_services

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
WORDS = {"success": "passed", "failed": "FAILED", "skipped": "not found"}
"""What became of a cell, in nox's words and in the table's."""


def main(arguments: list[str]) -> int:
    """Run all cells, or those that nox's arguments choose; 0 if none failed.

    `-s "project(3.12-6.1)"` is one of them.
    """
    found = {version: python for version in PYTHONS if (python := find(version))}
    for version in PYTHONS:
        print(f"Python {version}: {found.get(version, 'not found on this machine')}", flush=True)
    path = [*(str(python.parent) for python in found.values()), os.environ.get("PATH", "")]
    with tempfile.TemporaryDirectory() as name, temporary_services() as env:
        report = Path(name, "report.json")
        ended = run_in_front(
            [
                *(sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py")),
                *("--no-error-on-missing-interpreters", "--download-python", "never"),
                *("--report", str(report), *arguments),
            ],
            env={
                **env,
                "PATH": os.pathsep.join(path),
                "WHEEL": str(dist.build(Path(name)).wheel),
                "TESTS_PYTHON": sys.executable,
            },
        )
        if not report.exists():
            return ended or 1  # nox has said what it did not understand
        cells = json.loads(report.read_text())["sessions"]
    print("\n".join(table(cells)))
    return int(any(cell["result"] not in {"success", "skipped"} for cell in cells))


def find(version: str) -> Path | None:
    """A CPython of this version that starts: on PATH, or one that pyenv or uv has installed."""
    directories = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    directories += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"))
    directories += sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin"))
    for directory in directories:
        python = directory / f"python{version}"
        if python.exists() and _starts(python, version):
            return python
    return None


def _starts(python: Path, version: str) -> bool:
    """Whether it is one: pyenv puts scripts of all names on PATH, and most start nothing."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def table(cells: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What was seen, as Markdown, from the sessions of nox's report."""
    yield "| Python | Django | |"
    yield "|---|---|---|"
    for cell in cells:
        (signature,) = cell["signatures"]
        python, django, *rest = signature.removeprefix("project(").rstrip(")").split("-")
        oldest = ", and the oldest of all else" if rest else ""
        result = WORDS.get(cell["result"], cell["result"])
        yield f"| {python} | {django}{oldest} | {result} |"


if __name__ == "__main__":
    interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(exit_code(-signal.SIGINT))
