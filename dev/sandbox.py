"""The sandbox Spotify of a local run, in its own process."""

import sys
from collections.abc import Mapping

from dev.process import LOCAL, ROOT, port_is_free
from dev.server import Server

START_SECONDS = 20


def start_sandbox(*, port: int, env: Mapping[str, str]) -> Server:
    """Start the sandbox with the memory of the last run, and wait until it listens."""
    server = Server(
        "sandbox",
        [sys.executable, "-m", "spotify_auth.sandbox", "--memory", LOCAL / "sandbox.json"],
        log=LOCAL / "sandbox.log",
        cwd=ROOT,
        env=env,
    )
    server.wait_until(lambda: not port_is_free(port), seconds=START_SECONDS)
    return server
