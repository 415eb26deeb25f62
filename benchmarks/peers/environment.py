"""The peers' packages: in a virtual environment of their own, so that ours stays as it is."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from dev.process import ROOT

DIRECTORY = ROOT / ".venv-bench"
PYTHON = DIRECTORY / "bin" / "python"
_PINNED = ROOT / "requirements" / "peers.txt"
_INSTALLED = DIRECTORY / "installed"


def install() -> Path:
    """The environment's Python; installed again when requirements/peers.txt has changed."""
    wanted = hashlib.sha256(_PINNED.read_bytes()).hexdigest()
    if not _INSTALLED.exists() or _INSTALLED.read_text() != wanted:
        print(f"Installing the peers' pinned packages into {DIRECTORY.name}.", flush=True)
        uv = [sys.executable, "-m", "uv"]
        subprocess.run(
            [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(DIRECTORY)],
            check=True,
        )
        subprocess.run(
            [
                *(*uv, "pip", "install", "--quiet", "--python", str(PYTHON)),
                *("--require-hashes", "-r", str(_PINNED)),
            ],
            check=True,
        )
        _INSTALLED.write_text(wanted)
    return PYTHON


def versions(python: str, packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package."""
    code = (
        "import importlib.metadata, json, sys;"
        "print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))"
    )
    answer = subprocess.run([python, "-c", code, *packages], check=True, capture_output=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found
