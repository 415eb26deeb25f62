"""The dashboard's parts, from answers that are whole, odd or broken."""

from typing import Any

import pytest

from accounts import dashboard
from accounts.dashboard import CALLS, Item, Part, load
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db


def load_from(answers: dict[str, Any]) -> dict[str, Part]:
    """Parts made from these answers; the calls that are not named answer nothing."""
    return dashboard.parts_from({**dict.fromkeys(CALLS), **answers})


def test_shows_everything_of_a_listener(connect: Connect) -> None:
    user = connect("listener", due=False, scope=SCOPES)

    parts = load(user.pk)

    assert set(parts) == set(CALLS)
    assert all(part.items and not part.error for part in parts.values())
    assert parts["profile"].items[0].name == "Maya Lindqvist"
    assert len(parts["top_artists"].items) == 12
    assert all(item.picture for item in parts["top_artists"].items)


def test_a_podcast_is_shown_with_its_show(connect: Connect) -> None:
    user = connect("podcaster", due=False, scope=SCOPES)

    (playing,) = load(user.pk)["now_playing"].items

    assert playing.name
    assert playing.detail


def test_a_list_has_an_end() -> None:
    many = {"items": [{"name": str(number)} for number in range(5000)]}

    parts = load_from({"top_artists": many, "playlists": many})

    assert len(parts["top_artists"].items) == len(parts["playlists"].items) == 50


def test_an_advert_is_called_one(connect: Connect) -> None:
    user = connect("commuter", due=False, scope=SCOPES)

    assert load(user.pk)["now_playing"].items == (Item(name="An advert"),)


def test_what_plays_without_a_name_is_not_nothing(connect: Connect) -> None:
    user = connect("archivist", due=False, scope=SCOPES)

    assert load(user.pk)["now_playing"].items == (Item(name="Something without a name"),)


def test_a_paused_track_is_told_apart(connect: Connect) -> None:
    user = connect("sleeper", due=False, scope=SCOPES)

    part = load(user.pk)["now_playing"]

    assert (part.state, len(part.items)) == ("paused", 1)


def test_a_picture_that_the_policy_does_not_allow_is_not_offered(connect: Connect) -> None:
    user = connect("archivist", due=False, scope=SCOPES)

    (profile,) = load(user.pk)["profile"].items

    assert (profile.name, profile.picture) == ("Anouk Ferrand", "")


def test_playlists_of_others_have_no_count(connect: Connect) -> None:
    user = connect("sleeper", due=False, scope=SCOPES)

    playlists = load(user.pk)["playlists"].items

    assert playlists
    assert all(item.name and not item.detail for item in playlists)


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("body", ["", " \n", "null"])
def test_an_answer_without_content_is_nothing(
    connect: Connect, spotify: Sandbox, status: int, body: str
) -> None:
    user = connect("listener", due=False, scope=SCOPES)
    path = "/v1/me/player/currently-playing"
    body = "" if status == 204 else body
    spotify.faults("web_api_error", status=status, message=body, plain=True, path=path)

    assert load(user.pk)["now_playing"] == Part()


def test_a_part_says_how_long_a_limit_lasts(connect: Connect, spotify: Sandbox) -> None:
    user = connect("listener", due=False, scope=SCOPES)
    path = "/v1/me/playlists"
    spotify.faults("web_api_together", calls=len(CALLS))
    spotify.faults("web_api_error", status=429, message="x", retry_after="48925", path=path)

    part = load(user.pk)["playlists"]

    assert (part.error, part.retry_after, part.wait) == ("rate_limited", 48_926, "about 14 hours")


def test_one_part_that_fails_leaves_the_others(connect: Connect, spotify: Sandbox) -> None:
    user = connect("listener", due=False, scope=SCOPES)
    spotify.faults("web_api_error", status=503, message="x", path="/v1/me/playlists")

    parts = load(user.pk)

    assert parts["playlists"] == Part(error="unavailable")
    assert parts["top_tracks"].items


@pytest.mark.parametrize(
    ("name", "answer", "part"),
    [
        # null names, pictures, links and whole items
        (
            "top_artists",
            {"items": [None, {"name": None, "images": None, "external_urls": None}]},
            Part(items=(Item(name="Untitled"),)),
        ),
        (
            "top_artists",
            {"items": [{"name": " ", "images": []}]},
            Part(items=(Item(name="Untitled"),)),
        ),
        ("profile", {"display_name": None}, Part(items=(Item(name="Spotify listener"),))),
        ("recently_played", {"items": [{"track": None}, None]}, Part()),
        ("now_playing", {"item": None, "currently_playing_type": "unknown"}, Part()),
        ("now_playing", None, Part()),  # 204
        (
            "playlists",
            {
                "items": [
                    {"name": "One", "items": {"total": 1}},
                    {"name": "Old", "tracks": {"total": 2}},
                ]
            },
            Part(items=(Item(name="One", detail="1 item"), Item(name="Old", detail="2 items"))),
        ),
        # an address that is none of the web's is not linked
        (
            "top_tracks",
            {"items": [{"name": "x", "external_urls": {"spotify": "javascript:alert(1)"}}]},
            Part(items=(Item(name="x"),)),
        ),
        # is_playing tells what plays; without it, an item does
        ("now_playing", {"is_playing": True, "item": {"name": "x"}}, Part(items=(Item(name="x"),))),
        ("now_playing", {"item": {"name": "x"}}, Part(items=(Item(name="x"),))),
        (
            "now_playing",
            {"is_playing": False, "item": {"name": "x"}},
            Part(items=(Item(name="x"),), paused=True),
        ),
        (
            "now_playing",
            {"is_playing": True, "item": None, "currently_playing_type": "track"},
            Part(items=(Item(name="Something without a name"),)),
        ),
        (
            "now_playing",
            {"is_playing": True, "item": "x", "currently_playing_type": "unknown"},
            Part(items=(Item(name="Something without a name"),)),
        ),
        (
            "now_playing",
            {"is_playing": False, "item": None, "currently_playing_type": "ad"},
            Part(),
        ),
        # one odd field costs that field, one odd item that item
        (
            "top_tracks",
            {"items": [{"name": "A"}, {"name": "B", "artists": [None, {"name": 3}, "x"]}]},
            Part(items=(Item(name="A"), Item(name="B"))),
        ),
        (
            "top_tracks",
            {"items": [{"name": "A", "album": [], "show": 1, "artists": {}}, "x", 3]},
            Part(items=(Item(name="A"),)),
        ),
        (
            "top_artists",
            {"items": [{"name": 7}, {"name": "B", "genres": [None, "folk", 1, "jazz", "pop"]}]},
            Part(items=(Item(name="Untitled"), Item(name="B", detail="folk, jazz"))),
        ),
        (
            "top_artists",
            {
                "items": [
                    {"name": "A", "images": [None, "x", {"url": 1}], "external_urls": []},
                    {"name": "B", "images": {"url": "x"}, "external_urls": {"spotify": 3}},
                ]
            },
            Part(items=(Item(name="A"), Item(name="B"))),
        ),
        (
            "recently_played",
            {"items": [{"track": "x"}, 1, {"track": {"name": "A"}}]},
            Part(items=(Item(name="A"),)),
        ),
        (
            "playlists",
            {
                "items": [
                    {"name": "A"},
                    {"name": "B", "items": [1]},
                    {"name": "C", "items": {"total": "many"}},
                    {"name": "D", "items": {"total": True}},
                    ["E"],
                ]
            },
            Part(items=tuple(Item(name=name) for name in "ABCD")),
        ),
        (
            "profile",
            {"display_name": 4, "images": 5, "external_urls": "x"},
            Part(items=(Item(name="Spotify listener"),)),
        ),
        # another shape than documented
        ("top_tracks", {}, Part(error="unavailable")),
        ("top_tracks", {"items": ["x"]}, Part(error="unavailable")),
        ("playlists", {"items": 3}, Part(error="unavailable")),
        ("recently_played", {"items": [{"track": "x"}]}, Part(error="unavailable")),
    ],
)
def test_reads_odd_answers(name: str, answer: Any, part: Part) -> None:
    assert load_from({name: answer})[name] == part


def test_text_that_no_page_can_hold_is_replaced() -> None:
    item = dashboard._playable(
        {"name": "half an emoji \ud83d", "artists": [{"name": "NUL \0 here"}]}
    )

    assert (item.name, item.detail) == ("half an emoji ?", "NUL  here")
    (item.name + item.detail).encode()
