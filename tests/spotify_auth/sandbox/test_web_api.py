"""The Web API: bearer tokens, scopes, parameters, shapes."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from spotify_auth.sandbox.personas import PERSONAS
from tests.support.sandbox_client import Sandbox

TOP_ARTISTS, TOP_TRACKS = "/v1/me/top/artists", "/v1/me/top/tracks"
RECENT, PLAYING = "/v1/me/player/recently-played", "/v1/me/player/currently-playing"
PLAYLISTS = "/v1/me/playlists"
DEPRECATED = {"email", "country", "product", "followers", "explicit_content"}


def call(sandbox: Sandbox, path: str, persona: str = "listener", **params: str) -> Any:
    """The answer to one request of this persona."""
    response = sandbox.get(path, access_token(sandbox, persona), **params)
    assert response.status_code == 200, response.text
    return response.json()


def access_token(sandbox: Sandbox, persona: str = "listener", scope: str | None = None) -> str:
    token: str = sandbox.connect([persona], scope)[persona]["access_token"]
    return token


def error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"status": status, "message": message}}


def outcome(response: requests.Response) -> tuple[int, Any]:
    return response.status_code, response.json()


def picture_addresses(value: Any) -> Iterator[str]:
    """Every picture address in an answer."""
    if isinstance(value, dict):
        for image in value.get("images") or ():
            yield image["url"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from picture_addresses(inner)


def test_the_token_may_be_in_the_address(sandbox: Sandbox) -> None:
    # As django-allauth's login has it.
    token = access_token(sandbox, scope="user-top-read")

    def ask(path: str, token: str) -> requests.Response:
        return requests.get(sandbox.url + path, params={"access_token": token}, timeout=10)

    assert ask("/v1/me", token).json()["account_id"]
    assert token not in ask(TOP_ARTISTS, token).text
    assert outcome(ask("/v1/me", "x")) == error(401, "Invalid access token")
    assert outcome(ask("/v1/me", "")) == error(401, "No token provided")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, error(401, "No token provided")),
        ({"Authorization": "Basic abc"}, error(400, "Only valid bearer authentication supported")),
        ({"Authorization": "Bearer "}, error(400, "Only valid bearer authentication supported")),
        ({"Authorization": "Bearer x"}, error(401, "Invalid access token")),
    ],
)
def test_wants_a_bearer_token(
    sandbox: Sandbox, headers: dict[str, str], expected: tuple[int, Any]
) -> None:
    response = requests.get(f"{sandbox.url}/v1/me", headers=headers, timeout=10)

    assert outcome(response) == expected


def test_refuses_a_refresh_token_for_an_access_token(sandbox: Sandbox) -> None:
    token = sandbox.connect(["listener"])["listener"]["refresh_token"]

    assert outcome(sandbox.get("/v1/me", token)) == error(401, "Invalid access token")


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        (TOP_ARTISTS, "user-top-read"),
        (TOP_TRACKS, "user-top-read"),
        (RECENT, "user-read-recently-played"),
        (PLAYING, "user-read-currently-playing"),
        (PLAYLISTS, "playlist-read-private"),
    ],
)
def test_each_endpoint_wants_its_scope(sandbox: Sandbox, path: str, scope: str) -> None:
    without = access_token(sandbox, scope="user-read-private")

    assert outcome(sandbox.get(path, without)) == error(403, "Insufficient client scope")
    assert sandbox.get(path, access_token(sandbox, scope=scope)).status_code == 200


def test_the_profile_needs_no_scope(sandbox: Sandbox) -> None:
    assert sandbox.get("/v1/me", access_token(sandbox, scope="")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/me", TOP_ARTISTS, PLAYING])
def test_people_missing_from_the_dashboard_are_refused_everything(
    sandbox: Sandbox, path: str
) -> None:
    response = sandbox.get(path, access_token(sandbox, "outsider"))

    assert outcome(response) == error(403, "User not registered in the Developer Dashboard")


def test_a_slash_at_the_end_of_a_path_is_forgiven(sandbox: Sandbox) -> None:
    assert call(sandbox, "/v1/me/") == call(sandbox, "/v1/me")


@pytest.mark.parametrize("path", ["/v1/me//", "/v1/albums/1", "/v1/me/top/genres"])
def test_other_paths_are_not_there(sandbox: Sandbox, path: str) -> None:
    assert outcome(sandbox.get(path, access_token(sandbox))) == error(404, "Service not found")


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        (TOP_ARTISTS, {"limit": "0"}, "Invalid limit"),
        (TOP_TRACKS, {"limit": "51"}, "Invalid limit"),
        (PLAYLISTS, {"limit": "many"}, "Invalid limit"),
        (PLAYLISTS, {"limit": ""}, "Invalid limit"),
        (PLAYLISTS, {"offset": "-1"}, "Invalid offset"),
        (PLAYLISTS, {"offset": "9" * 5000}, "Invalid offset"),
        (TOP_ARTISTS, {"time_range": "yesterday"}, "Invalid time range"),
        (RECENT, {"limit": "51"}, "Invalid limit"),
        (RECENT, {"before": "noon"}, "Invalid before"),
        (RECENT, {"after": "1.5"}, "Invalid after"),
        (RECENT, {"before": "2", "after": "1"}, "Only one of before and after may be used"),
    ],
)
def test_refuses_wrong_parameters(
    sandbox: Sandbox, path: str, params: dict[str, str], message: str
) -> None:
    response = sandbox.get(path, access_token(sandbox), **params)

    assert outcome(response) == error(400, message)


def test_the_profile_has_an_account_id_and_nothing_deprecated(sandbox: Sandbox) -> None:
    answer = sandbox.connect(["listener"])["listener"]
    profile = sandbox.get("/v1/me", answer["access_token"]).json()

    assert profile["account_id"] == answer["account_id"]
    assert profile["id"] == "listener"
    assert profile["display_name"] == "Maya Lindqvist"
    assert profile["type"] == "user"
    assert profile["uri"] == "spotify:user:listener"
    assert not DEPRECATED & profile.keys()


def test_generated_users_are_all_different(sandbox: Sandbox) -> None:
    profiles = [call(sandbox, "/v1/me", f"user-{number}") for number in range(5)]

    assert len({profile["account_id"] for profile in profiles}) == 5
    assert all(profile["display_name"] for profile in profiles)


def test_a_newcomer_has_null_and_empty_everything(sandbox: Sandbox) -> None:
    profile = call(sandbox, "/v1/me", "newcomer")

    assert profile["display_name"] is None
    assert profile["images"] == []
    for path in (TOP_ARTISTS, TOP_TRACKS, PLAYLISTS):
        assert call(sandbox, path, "newcomer")["items"] == []
    recent = call(sandbox, RECENT, "newcomer")
    assert (recent["items"], recent["next"], recent["cursors"]) == ([], None, None)


def test_nothing_playing_is_204_without_a_body(sandbox: Sandbox) -> None:
    response = sandbox.get(PLAYING, access_token(sandbox, "newcomer"))

    assert (response.status_code, response.content) == (204, b"")


def test_a_playing_track_has_progress(sandbox: Sandbox) -> None:
    playing = call(sandbox, PLAYING)

    assert playing["is_playing"] is True
    assert playing["currently_playing_type"] == "track"
    assert playing["item"]["type"] == "track"
    assert 0 <= playing["progress_ms"] < playing["item"]["duration_ms"]


def test_an_episode_is_shown_to_those_who_ask_for_episodes(sandbox: Sandbox) -> None:
    playing = call(sandbox, PLAYING, "podcaster", additional_types="track,episode")

    assert playing["currently_playing_type"] == "episode"
    assert playing["item"]["show"]["name"] == "The Long Way Round"
    assert 0 <= playing["progress_ms"] < playing["item"]["duration_ms"]


@pytest.mark.parametrize(
    ("persona", "kind"),
    [("podcaster", "episode"), ("commuter", "ad"), ("archivist", "unknown")],
)
def test_the_item_can_be_null_while_something_plays(
    sandbox: Sandbox, persona: str, kind: str
) -> None:
    playing = call(sandbox, PLAYING, persona)

    assert playing["is_playing"] is True
    assert playing["currently_playing_type"] == kind
    assert (playing["item"], playing["progress_ms"]) == (None, None)


def test_a_paused_player_still_holds_its_track(sandbox: Sandbox) -> None:
    playing = call(sandbox, PLAYING, "sleeper")

    assert playing["is_playing"] is False
    assert playing["currently_playing_type"] == playing["item"]["type"] == "track"


def test_artists_have_the_shape_of_development_mode(sandbox: Sandbox) -> None:
    artist = call(sandbox, TOP_ARTISTS)["items"][0]

    assert artist.keys() == {
        *("external_urls", "genres", "href", "id", "images", "name", "type", "uri")
    }
    assert [image["height"] for image in artist["images"]] == [640, 300, 64]


def test_tracks_have_artists_and_an_album(sandbox: Sandbox) -> None:
    track = call(sandbox, TOP_TRACKS)["items"][0]

    assert track["artists"][0]["name"]
    assert track["album"]["images"]
    assert track["album"]["release_date_precision"] in {"day", "year"}
    assert track["duration_ms"] > 0
    assert track["uri"] == f"spotify:track:{track['id']}"


def test_playlists_summarise_their_tracks_as_items(sandbox: Sandbox) -> None:
    playlist = call(sandbox, PLAYLISTS)["items"][0]

    assert playlist["items"]["total"] > 0
    assert "tracks" not in playlist
    assert playlist["owner"]["display_name"] == "Maya Lindqvist"


def test_playlists_of_others_have_no_items(sandbox: Sandbox) -> None:
    playlist = call(sandbox, PLAYLISTS, "sleeper")["items"][0]

    assert "items" not in playlist
    assert playlist["owner"]["id"] == "user-1"


def test_tracks_have_their_isrc_and_the_albums_in_them_no_codes(sandbox: Sandbox) -> None:
    """`external_ids` came back in March 2026; a short album never had them."""
    tracks = call(sandbox, "/v1/me/top/tracks")["items"]

    codes = [track["external_ids"]["isrc"] for track in tracks]
    assert all(re.fullmatch(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}", code) for code in codes)
    assert len(set(codes)) == len(codes) > 1
    assert not any("external_ids" in track["album"] for track in tracks)


@pytest.mark.parametrize("plain", [False, True])
def test_without_the_owners_premium_every_call_of_everybody_is_refused(
    sandbox: Sandbox, plain: bool
) -> None:
    sandbox.faults("owner_without_premium", plain=plain)

    for persona in ("listener", "podcaster"):
        answer = sandbox.get("/v1/me", access_token(sandbox, persona))
        assert answer.status_code == 403
        message = answer.text if plain else answer.json()["error"]["message"]
        assert message.startswith("Active premium subscription required for the owner of the app.")


def test_an_error_can_carry_a_reason(sandbox: Sandbox) -> None:
    token = access_token(sandbox)
    sandbox.faults("web_api_error", status=429, message="x", reason="QUOTA_EXCEEDED")

    assert sandbox.get("/v1/me", token).json()["error"]["reason"] == "QUOTA_EXCEEDED"


def test_each_time_range_has_an_order_of_its_own(sandbox: Sandbox) -> None:
    ranges = ("short_term", "medium_term", "long_term")
    orders = [
        [artist["name"] for artist in call(sandbox, TOP_ARTISTS, time_range=name)["items"]]
        for name in ranges
    ]

    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])


def test_answers_are_the_same_each_time(sandbox: Sandbox) -> None:
    assert call(sandbox, TOP_TRACKS) == call(sandbox, TOP_TRACKS)


def test_pages_follow_each_other_and_stay_in_the_sandbox(sandbox: Sandbox) -> None:
    token = access_token(sandbox)
    first = sandbox.get(TOP_ARTISTS, token, limit="7", time_range="short_term").json()
    pages = [first]
    while (following := pages[-1]["next"]) is not None:
        assert following.startswith(sandbox.url)
        pages.append(sandbox.get(following.removeprefix(sandbox.url), token).json())

    assert [page["offset"] for page in pages] == [0, 7, 14]
    assert [page["previous"] is None for page in pages] == [True, False, False]
    names = [artist["name"] for page in pages for artist in page["items"]]
    assert len(set(names)) == len(names) == first["total"]


def test_an_offset_past_the_end_is_an_empty_page(sandbox: Sandbox) -> None:
    page = call(sandbox, PLAYLISTS, offset="1000")

    assert (page["items"], page["next"]) == ([], None)


def test_recent_plays_come_newest_first_and_page_by_cursor(sandbox: Sandbox) -> None:
    token = access_token(sandbox)
    first = sandbox.get(RECENT, token, limit="30").json()
    second = sandbox.get(first["next"].removeprefix(sandbox.url), token).json()

    times = [play["played_at"] for page in (first, second) for play in page["items"]]
    assert all(later > earlier for later, earlier in pairwise(times))
    assert len(first["items"]) == 30
    assert second["next"] is None or len(second["items"]) == 30


def test_recent_plays_after_a_cursor_are_the_newer_ones(sandbox: Sandbox) -> None:
    token = access_token(sandbox)
    oldest = sandbox.get(RECENT, token, limit="10").json()["cursors"]["before"]
    newer = sandbox.get(RECENT, token, after=oldest).json()

    assert len(newer["items"]) in {9, 10}  # a track may have ended between the two requests


@pytest.mark.parametrize("persona", [*PERSONAS.keys() - {"outsider", "archivist"}, "user-5"])
def test_every_picture_is_in_the_sandbox_and_exists(sandbox: Sandbox, persona: str) -> None:
    token = access_token(sandbox, persona)
    paths = ("/v1/me", TOP_ARTISTS, TOP_TRACKS, PLAYLISTS, RECENT)
    answers = [sandbox.get(path, token, limit="50").json() for path in paths]
    addresses = {address for answer in answers for address in picture_addresses(answer)}

    for address in addresses:
        assert address.startswith(f"{sandbox.url}/pictures/")
    for address in sorted(addresses)[:3]:
        assert sandbox.session.get(address, timeout=10).status_code == 200


def test_pictures_have_the_host_that_was_asked(sandbox: Sandbox) -> None:
    port = urlsplit(sandbox.url).port
    response = requests.get(
        f"{sandbox.url}/v1/me",
        headers={
            "Authorization": f"Bearer {access_token(sandbox)}",
            "Host": f"sandbox.test:{port}",
        },
        timeout=10,
    )

    assert response.json()["images"][0]["url"].startswith(f"http://sandbox.test:{port}/pictures/")


def test_the_trickster_has_hostile_names_and_missing_pictures(sandbox: Sandbox) -> None:
    artists = call(sandbox, TOP_ARTISTS, "trickster")["items"]
    names = {artist["name"] for artist in artists}

    assert "<script>alert(1)</script>" in names
    assert max(map(len, names)) > 300
    assert any(artist["images"] == [] for artist in artists)
    assert call(sandbox, PLAYLISTS, "trickster")["items"][0]["images"] is None


def test_answers_can_be_revalidated(sandbox: Sandbox) -> None:
    token = access_token(sandbox)
    etag = sandbox.get("/v1/me", token).headers["ETag"]

    headers = {"Authorization": f"Bearer {token}", "If-None-Match": etag}
    response = requests.get(f"{sandbox.url}/v1/me", headers=headers, timeout=10)

    assert (response.status_code, response.content) == (304, b"")


def test_answers_get_only(sandbox: Sandbox) -> None:
    assert requests.post(f"{sandbox.url}/v1/me", timeout=10).status_code == 405
