"""For the tests of projects that use this app: docs/how-to/test-your-project.md.

plugin      pytest's fixtures; imports nothing until one is used
sandbox     a strict stand-in for Spotify, as a process of its own
refreshing  what a worker does, in the process of a test
state       what a process, and Redis, remember of earlier tests
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spotify_auth.sandbox.worlds import World as World


def __getattr__(name: str) -> Any:
    """`spotify_auth.testing.World`: looked up when it is used: pytest always loads the plugin."""
    if name == "World":
        return import_module("spotify_auth.sandbox.worlds").World
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
