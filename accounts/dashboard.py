"""What the dashboard shows, made from the Web API's answers.

Every part has a state of its own, so that one call that fails never fails the page.
Answers are read defensively: names, pictures and whole items may be null.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spotify_auth import web_api
from spotify_auth.text import storable
from spotify_auth.tokens import UserOrId
from spotify_auth.web_api import Answer, WebApiError

CALLS: dict[str, tuple[str, Mapping[str, str | int]]] = {
    "profile": ("/me", {}),
    "now_playing": ("/me/player/currently-playing", {"additional_types": "track,episode"}),
    "top_artists": ("/me/top/artists", {"limit": 12}),
    "top_tracks": ("/me/top/tracks", {"limit": 10}),
    "recently_played": ("/me/player/recently-played", {"limit": 10}),
    "playlists": ("/me/playlists", {"limit": 12}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One line or card: a name, perhaps more words, a picture and a link to Spotify."""

    name: str
    detail: str = ""
    picture: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of the dashboard. `error` is a WebApiError's code, or blank."""

    items: tuple[Item, ...] = ()
    error: str = ""

    @property
    def state(self) -> str:
        """ok, empty or error."""
        if self.error:
            return "error"
        return "ok" if self.items else "empty"


def load(user: UserOrId, *, requested_by: str = "") -> dict[str, Part]:
    """Fetch everything the dashboard shows. Raises tokens.TokenUnavailable."""
    answers = web_api.get_all(user, CALLS, requested_by=requested_by)
    return {name: _part(answers[name], _READERS[name]) for name in CALLS}


def _part(answer: Answer | WebApiError, read: Callable[[dict[str, Any]], list[Item]]) -> Part:
    if isinstance(answer, WebApiError):
        return Part(error=answer.code)
    try:
        return Part(items=tuple(read(answer or {})))
    except (AttributeError, KeyError, TypeError, IndexError):
        return Part(error=web_api.Unavailable.code)


def _profile(answer: dict[str, Any]) -> list[Item]:
    return [_item(answer, name=answer.get("display_name") or "Spotify listener")]


def _now_playing(answer: dict[str, Any]) -> list[Item]:
    kind = answer.get("currently_playing_type")
    if answer.get("item"):
        return [_playable(answer["item"])]
    return [Item(name="An advert")] if kind == "ad" else []


def _artists(answer: dict[str, Any]) -> list[Item]:
    return [
        _item(artist, detail=", ".join((artist.get("genres") or [])[:2]))
        for artist in answer["items"]
        if artist
    ]


def _tracks(answer: dict[str, Any]) -> list[Item]:
    return [_playable(track) for track in answer["items"] if track]


def _recently_played(answer: dict[str, Any]) -> list[Item]:
    return [_playable(play["track"]) for play in answer["items"] if play and play.get("track")]


def _playlists(answer: dict[str, Any]) -> list[Item]:
    return [
        _item(playlist, detail=_count(playlist.get("items") or playlist.get("tracks")))
        for playlist in answer["items"]
        if playlist
    ]


def _playable(source: dict[str, Any]) -> Item:
    """A track with its artists, or an episode with its show."""
    names = [artist.get("name") for artist in source.get("artists") or []]
    show = source.get("show") or {}
    album = source.get("album") or {}
    return _item(
        source,
        detail=", ".join(name for name in names if name) or show.get("name") or "",
        images=source.get("images") or album.get("images") or show.get("images"),
    )


def _item(source: dict[str, Any], *, name: str = "", detail: str = "", images: Any = None) -> Item:
    pictures = images or source.get("images") or []
    return Item(
        name=storable(name or source.get("name") or "").strip() or "Untitled",
        detail=storable(detail),
        picture=_web_address(pictures[0].get("url")) if pictures else "",
        link=_web_address((source.get("external_urls") or {}).get("spotify")),
    )


def _count(summary: Any) -> str:
    total = summary.get("total") if isinstance(summary, dict) else None
    return "" if total is None else f"{total} item{'' if total == 1 else 's'}"


def _web_address(value: object) -> str:
    """An http address, or nothing: names and links come from strangers."""
    is_web = isinstance(value, str) and value.startswith(("https://", "http://"))
    return str(value) if is_web else ""


_READERS: dict[str, Callable[[dict[str, Any]], list[Item]]] = {
    "profile": _profile,
    "now_playing": _now_playing,
    "top_artists": _artists,
    "top_tracks": _tracks,
    "recently_played": _recently_played,
    "playlists": _playlists,
}
