"""The write side is tried in both worlds: every test that uses the sandbox runs in each."""

import pytest

from spotify_auth.sandbox.worlds import World


@pytest.fixture(params=World, ids=str)
def spotify_world(request: pytest.FixtureRequest) -> World:
    """What becomes of a refresh token at a refresh."""
    world: World = request.param
    return world
