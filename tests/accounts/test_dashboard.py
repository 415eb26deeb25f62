"""The dashboard's parts, from answers that are whole, odd or broken."""

from typing import Any

import pytest

from accounts import dashboard
from accounts.dashboard import CALLS, Item, Part, load
from spotify_auth import web_api
from tests.support.sandbox_client import SCOPES, Sandbox
from tests.support.tokens import Connect

pytestmark = pytest.mark.django_db


def load_from(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """Parts made from these answers; the calls that are not named answer nothing."""
    whole = {**dict.fromkeys(CALLS), **answers}
    monkeypatch.setattr(web_api, "get_all", lambda user, calls, requested_by: whole)
    return load(1)


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


def test_an_advert_is_called_one(connect: Connect) -> None:
    user = connect("commuter", due=False, scope=SCOPES)

    assert load(user.pk)["now_playing"].items == (Item(name="An advert"),)


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
        # another shape than documented
        ("top_tracks", {}, Part(error="unavailable")),
        ("top_tracks", {"items": ["x"]}, Part(error="unavailable")),
        ("playlists", {"items": 3}, Part(error="unavailable")),
    ],
)
def test_reads_odd_answers(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: Any, part: Part
) -> None:
    assert load_from({name: answer}, monkeypatch)[name] == part


def test_text_that_no_page_can_hold_is_replaced() -> None:
    item = dashboard._item({"name": "half an emoji \ud83d"}, detail="NUL \0 here")

    assert (item.name, item.detail) == ("half an emoji ?", "NUL  here")
    (item.name + item.detail).encode()
