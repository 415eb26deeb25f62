"""`make lint`: every check that needs no running service. All of them run, also after a failure."""

import subprocess
import sys

from dev.process import ROOT
from dev.testing import settings_for_tests

PYTHON = sys.executable
SHIPPED = ("accounts", "config", "spotify_auth", "dev")
"""What bandit looks at; tests and benchmarks break its rules on purpose."""
CHECKS = {
    "ruff check": [PYTHON, "-m", "ruff", "check", "."],
    "ruff format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "mypy": [PYTHON, "-m", "mypy"],
    "import-linter": [PYTHON, "-c", "from importlinter.cli import lint_imports_command as r; r()"],
    "migrations": [PYTHON, "-W", "ignore", "manage.py", "makemigrations", "--check", "--dry-run"],
    "system checks": [PYTHON, "manage.py", "check", "--fail-level", "WARNING"],
    "bandit": [PYTHON, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r", *SHIPPED],
    "pip-audit": [PYTHON, "-m", "dev.audit"],
}


def main() -> int:
    """Run every check; 1 if any failed."""
    env = settings_for_tests(
        # Never connected to: these checks need an address, not a server.
        database_url="postgres://nobody@127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1/0",
    )
    failed = []
    for name, command in CHECKS.items():
        print(f"--- {name}", flush=True)
        if subprocess.run(command, env=env, cwd=ROOT, check=False).returncode:
            failed.append(name)
    print(f"Failed: {', '.join(failed)}." if failed else "All checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
