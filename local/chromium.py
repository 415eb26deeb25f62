"""Finding Chromium for the browser tests, or installing Debian's."""

import os
import shutil
import subprocess
from pathlib import Path

from local.process import LOCAL

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_or_install() -> dict[str, str]:
    """CHROMIUM_PATH for the tests, or BROWSER_TESTS_SKIPPED_BECAUSE with the reason."""
    found = _find()
    if not found and shutil.which("apt-get"):
        if os.geteuid() == 0:
            found = _install([])
        elif _sudo_asks_for_nothing():
            found = _install(["sudo", "-n"])
    if found:
        return {"CHROMIUM_PATH": found}
    return {
        "BROWSER_TESTS_SKIPPED_BECAUSE": "no Chromium was found on PATH, and this user cannot "
        "install Debian's package `chromium`"
    }


def _find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _install(prefix: list[str]) -> str | None:
    LOCAL.mkdir(exist_ok=True)
    log = LOCAL / "install-chromium.log"
    print(f"Installing Debian's chromium for the browser tests (log: {log}).", flush=True)
    with log.open("wb") as output:
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


def _sudo_asks_for_nothing() -> bool:
    sudo = shutil.which("sudo")
    return bool(sudo) and (
        subprocess.run([Path(str(sudo)), "-n", "true"], capture_output=True, check=False).returncode
        == 0
    )
