"""`make sbom`: a list of all that production installs, as CycloneDX JSON (https://cyclonedx.org)."""

import subprocess
import sys
from pathlib import Path

from dev.process import ROOT

FILE = ROOT / "sbom.cdx.json"


def main(target: str = str(FILE)) -> int:
    """Write the file from the pinned requirements; nothing is asked of a network."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements"]
    options = ["--spec-version", "1.6", "--output-format", "JSON", "--output-reproducible"]
    ended = subprocess.run(
        [*command, *options, "--output-file", target, "requirements/production.txt"],
        cwd=ROOT,
        check=False,
    )
    if not ended.returncode:
        print(f"Wrote {Path(target).name}.")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
