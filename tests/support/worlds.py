"""The worlds of the sandbox in which a test runs."""

import pytest

from spotify_auth.sandbox.worlds import World

in_rotating = pytest.mark.parametrize("spotify_world", [World.ROTATING], ids=str)
in_spotify_2026 = pytest.mark.parametrize("spotify_world", [World.SPOTIFY_2026], ids=str)
in_both_worlds = pytest.mark.parametrize("spotify_world", World, ids=str)


@pytest.fixture(params=World, ids=str)
def spotify_world(request: pytest.FixtureRequest) -> World:
    """Each in turn: for the conftest.py of a room whose tests all run in both."""
    world: World = request.param
    return world
