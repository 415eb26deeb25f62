"""The page for operators names every line that the log can hold."""

import re
from collections.abc import Iterator
from pathlib import Path

from dev.process import ROOT

APPS = ("accounts", "config", "spotify_auth")
CALL = re.compile(r"logger\.(?:debug|info|warning|error|exception|critical)\(\s*\"([a-z_]+)")


def modules() -> Iterator[Path]:
    for app in APPS:
        yield from (ROOT / app).rglob("*.py")


def test_every_log_line_is_explained() -> None:
    names = {
        name
        for module in modules()
        if "sandbox" not in module.parts
        for name in CALL.findall(module.read_text())
    }
    explained = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/reference/log-lines.md").read_text()))

    assert "rescue_stored" in names
    assert names - explained == set()
