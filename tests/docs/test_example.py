"""examples/music_site: its settings hold, as they are copied."""

import os
import subprocess
import sys

import pytest

from dev.process import ROOT

SETTINGS = {
    "SECRET_KEY": "s" * 50,
    "TOKEN_ENCRYPTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "SPOTIFY_CLIENT_ID": "sandbox-client",
    "SPOTIFY_CLIENT_SECRET": "sandbox-secret",
    "SPOTIFY_REDIRECT_URI": "http://127.0.0.1:8000/spotify/callback/",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
}


@pytest.mark.parametrize("spotify", [{}, {"SANDBOX_URL": "http://127.0.0.1:8090"}])
def test_the_settings_of_the_example_are_in_order(spotify: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
        cwd=ROOT / "examples/music_site",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **SETTINGS, **spotify},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
