"""The sandbox Spotify of a local run, in its own process."""

import sys
from collections.abc import Mapping

from dev.process import LOCAL, ROOT, port_is_free
from dev.server import Server
from spotify_auth.sandbox.worlds import (
    DEFAULT,
    World,
    WorldError,
    reuse_revokes_grant,
    world_of,
)

START_SECONDS = 20


def chosen_world(given: Mapping[str, str]) -> World:
    """The world that the environment names. Raises SystemExit with one line if it names none."""
    name = "SANDBOX_WORLD"
    try:
        world = world_of(given.get(name, DEFAULT))
        name = "SANDBOX_REUSE_REVOKES_GRANT"
        reuse_revokes_grant(given.get(name, "false"), world)
    except WorldError as error:
        sys.exit(f"{name}: {error}.")
    return world


def note_about(world: World) -> str:
    """One line for the terminal: which world the sandbox is, and how to run the other one."""
    (other,) = set(World) - {world}
    return (
        f"The sandbox Spotify is the world {world}: {world.habit}. "
        f"`SANDBOX_WORLD={other} make run` runs the other one."
    )


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
