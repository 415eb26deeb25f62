"""Known vulnerabilities of what production installs, from PyPI by pip-audit.

Without a network nothing can be asked: that is one line, and no failure.
"""

import json
import subprocess
import sys

from dev.process import ROOT

LONGEST_SECONDS = 120
_COMMAND = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
_OUTPUT = ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]


def main(requirements: str = "requirements/production.txt") -> int:
    """Ask, and say what was found; 1 for a vulnerability."""
    command = [*_COMMAND, *_OUTPUT, "--requirement", requirements]
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
        dependencies = json.loads(ended.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("pip-audit could not ask PyPI: nothing is known of vulnerabilities.")
        return 0
    found = [
        f"{each['name']} {each['version']}: {known['id']}, fixed in "
        f"{', '.join(known['fix_versions']) or 'no version yet'}"
        for each in dependencies
        for known in each.get("vulns", ())
    ]
    asked = sum("skip_reason" not in each for each in dependencies)
    if found:
        print("\n".join(["Known vulnerabilities:", *found]))
        return 1
    if asked < len(dependencies):
        print(f"pip-audit could ask PyPI of {asked} of {len(dependencies)} packages only.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
