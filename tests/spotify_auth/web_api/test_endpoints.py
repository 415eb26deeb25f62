"""An endpoint is an address without its IDs and its query."""

import pytest

from spotify_auth.web_api.endpoints import endpoint_of


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/me", "/v1/me"),
        ("/v1/me/", "/v1/me"),
        ("/v1/me/top/artists?limit=12&offset=3", "/v1/me/top/artists"),
        ("/v1/me/player/recently-played", "/v1/me/player/recently-played"),
        ("/v1/playlists/37i9dQZF1DXcBWIGoYBM5M/items", "/v1/playlists/*/items"),
        ("/v1/users/maya/playlists", "/v1/users/*/playlists"),
        ("/v1/audio-features/" + "x" * 400, "/v1/audio-features/*"),
        ("/v1" + "/x" * 40, "/v1" + "/x" * 7),
        ("", "/*"),
    ],
)
def test_what_is_limited_by_itself(path: str, endpoint: str) -> None:
    assert endpoint_of(f"https://api.spotify.com{path}") == endpoint
