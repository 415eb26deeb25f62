"""Every test here that uses the sandbox runs in each of its worlds."""

from tests.support.worlds import spotify_world as spotify_world
