"""Find Chromium for the browser tests, or install Debian's."""

import os
import shutil
import subprocess

from dev.process import LOCAL, make_local

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOG = LOCAL / "install-chromium.log"


def find_or_install() -> dict[str, str]:
    """CHROMIUM_PATH for the tests, or BROWSER_TESTS_SKIPPED_BECAUSE with the reason."""
    found = _find()
    reason = "no Chromium was found on PATH, and this user cannot install Debian's `chromium`"
    if not found and shutil.which("apt-get") and (as_root := _prefix_for_root()) is not None:
        found = _install(as_root)
        reason = f"installing Debian's `chromium` failed (log: {LOG})"
    return {"CHROMIUM_PATH": found} if found else {"BROWSER_TESTS_SKIPPED_BECAUSE": reason}


def _find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _install(prefix: list[str]) -> str | None:
    make_local()
    print(f"Installing Debian's chromium for the browser tests (log: {LOG}).", flush=True)
    with LOG.open("wb") as output:
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"],
        ):
            subprocess.run(
                [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
            )
    return _find()


def _prefix_for_root() -> list[str] | None:
    """The prefix of a command that only root may run; None if there is no way."""
    if os.geteuid() == 0:
        return []
    prefix = ["sudo", "-n"]
    if not shutil.which("sudo"):
        return None
    asks = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    return None if asks else prefix
